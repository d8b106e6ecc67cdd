//! Files, signals and devices.
