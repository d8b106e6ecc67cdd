//! A login that was none, and a secret that wants out.
