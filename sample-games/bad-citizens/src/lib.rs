//! Bad citizens.
