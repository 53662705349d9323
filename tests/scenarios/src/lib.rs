//! Ringside.
