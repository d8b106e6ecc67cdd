//! Text from elsewhere, on its way to a terminal.
