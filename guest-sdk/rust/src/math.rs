//! Mathematics with one result everywhere: the same bits natively, in a module, and on any machine.
//!
//! The standard library leaves `sin`, `powf` and their like to the platform, which may round as it pleases: a match
//! that uses them cannot be replayed bit for bit. These are software, the same portable code on every target.
//! Arithmetic, `sqrt`, `floor` and other functions that IEEE 754 defines to the last bit need no help; `f64::min`,
//! `max` and `powi` are not among those.

/// The square root; exact to the last bit by definition.
pub fn sqrt(x: f64) -> f64 {
    x.sqrt()
}

/// Sine of an angle in radians.
pub fn sin(x: f64) -> f64 {
    libm::sin(x)
}

/// Cosine of an angle in radians.
pub fn cos(x: f64) -> f64 {
    libm::cos(x)
}

/// Sine and cosine of an angle in radians.
pub fn sin_cos(x: f64) -> (f64, f64) {
    (libm::sin(x), libm::cos(x))
}

/// Tangent of an angle in radians.
pub fn tan(x: f64) -> f64 {
    libm::tan(x)
}

/// Angle in radians whose sine is `x`.
pub fn asin(x: f64) -> f64 {
    libm::asin(x)
}

/// Angle in radians whose cosine is `x`.
pub fn acos(x: f64) -> f64 {
    libm::acos(x)
}

/// Angle in radians whose tangent is `x`.
pub fn atan(x: f64) -> f64 {
    libm::atan(x)
}

/// Angle in radians of the vector (`x`, `y`), from -π to π.
pub fn atan2(y: f64, x: f64) -> f64 {
    libm::atan2(y, x)
}

/// Length of the vector (`x`, `y`).
pub fn hypot(x: f64, y: f64) -> f64 {
    libm::hypot(x, y)
}

/// e to the power of `x`.
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// Natural logarithm.
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// `x` to the power of `y`.
pub fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}

/// The smaller of two numbers; the first if they are equal or either is no number.
pub fn min(a: f64, b: f64) -> f64 {
    if b < a { b } else { a }
}

/// The greater of two numbers; the first if they are equal or either is no number.
pub fn max(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

/// `angle` in radians, turned by whole circles into -π (excluded) to π.
pub fn wrap_angle(angle: f64) -> f64 {
    use std::f64::consts::{PI, TAU};

    let turned = angle - TAU * ((angle + PI) / TAU).floor();
    if turned <= -PI || turned > PI { PI } else { turned }
}
