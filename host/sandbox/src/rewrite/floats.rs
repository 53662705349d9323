//! What each operator does with the bits of a NaN. Owns the classification, and nothing about control flow.

use wasmparser::Operator;

/// A value that can hold NaNs: how it is compared and made canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    F32,
    F64,
    F32x4,
    F64x2,
}

/// What an operator does with floats. Operands are counted from the top of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Takes `operands` floats of which it sees values only, never a NaN's bits, and makes one of arithmetic.
    Arithmetic { operands: usize, result: Shape },
    /// Takes `operands` floats of which it sees values only, and makes something that is no float, or never a NaN.
    Observe { operands: usize },
    /// Takes one float, and passes it on with a positive sign: canonical if and only if the operand is, after
    /// being made canonical.
    Abs(Shape),
    /// Makes, from nothing that is a float, a float that is no NaN, or the canonical one.
    Fresh { operands: usize },
    /// Anything else: whatever floats it takes, their bits may be seen.
    Opaque,
}

/// The canonical NaN.
pub(crate) const CANONICAL_F32: u32 = 0x7fc0_0000;
/// The canonical NaN.
pub(crate) const CANONICAL_F64: u64 = 0x7ff8_0000_0000_0000;

/// Whether an operator does floating-point arithmetic on vectors.
pub(crate) fn is_vector_arithmetic(operator: &Operator<'_>) -> bool {
    matches!(effect(operator), Effect::Arithmetic { result: Shape::F32x4 | Shape::F64x2, .. })
}

/// The shape of the operands of vector arithmetic and comparisons: a vector of another shape shows them its bits.
pub(crate) fn operand_shape(operator: &Operator<'_>) -> Option<Shape> {
    use Operator as O;
    match operator {
        // The two that change the shape take the other one.
        O::F32x4DemoteF64x2Zero => Some(Shape::F64x2),
        O::F64x2PromoteLowF32x4 => Some(Shape::F32x4),
        O::F32x4Eq | O::F32x4Ne | O::F32x4Lt | O::F32x4Gt | O::F32x4Le | O::F32x4Ge => Some(Shape::F32x4),
        O::I32x4TruncSatF32x4S | O::I32x4TruncSatF32x4U => Some(Shape::F32x4),
        O::F64x2Eq | O::F64x2Ne | O::F64x2Lt | O::F64x2Gt | O::F64x2Le | O::F64x2Ge => Some(Shape::F64x2),
        O::I32x4TruncSatF64x2SZero | O::I32x4TruncSatF64x2UZero => Some(Shape::F64x2),
        other => match effect(other) {
            Effect::Arithmetic { result: shape @ (Shape::F32x4 | Shape::F64x2), .. } | Effect::Abs(shape) => {
                Some(shape)
            }
            _ => None,
        },
    }
}

/// What an operator does with floats.
pub(crate) fn effect(operator: &Operator<'_>) -> Effect {
    use Operator as O;
    let arithmetic = |operands, result| Effect::Arithmetic { operands, result };
    match operator {
        O::F32Add | O::F32Sub | O::F32Mul | O::F32Div | O::F32Min | O::F32Max => arithmetic(2, Shape::F32),
        O::F64Add | O::F64Sub | O::F64Mul | O::F64Div | O::F64Min | O::F64Max => arithmetic(2, Shape::F64),
        O::F32Ceil | O::F32Floor | O::F32Trunc | O::F32Nearest | O::F32Sqrt => arithmetic(1, Shape::F32),
        O::F64Ceil | O::F64Floor | O::F64Trunc | O::F64Nearest | O::F64Sqrt => arithmetic(1, Shape::F64),
        O::F32DemoteF64 => arithmetic(1, Shape::F32),
        O::F64PromoteF32 => arithmetic(1, Shape::F64),
        O::F32Abs => Effect::Abs(Shape::F32),
        O::F64Abs => Effect::Abs(Shape::F64),
        O::F32Const { value } => constant(value.bits() & 0x7fff_ffff > 0x7f80_0000, value.bits() == CANONICAL_F32),
        O::F64Const { value } => {
            constant(value.bits() & 0x7fff_ffff_ffff_ffff > 0x7ff0_0000_0000_0000, value.bits() == CANONICAL_F64)
        }
        O::F32ConvertI32S | O::F32ConvertI32U | O::F32ConvertI64S | O::F32ConvertI64U => Effect::Fresh { operands: 1 },
        O::F64ConvertI32S | O::F64ConvertI32U | O::F64ConvertI64S | O::F64ConvertI64U => Effect::Fresh { operands: 1 },
        O::F32Eq | O::F32Ne | O::F32Lt | O::F32Gt | O::F32Le | O::F32Ge => Effect::Observe { operands: 2 },
        O::F64Eq | O::F64Ne | O::F64Lt | O::F64Gt | O::F64Le | O::F64Ge => Effect::Observe { operands: 2 },
        O::I32TruncF32S | O::I32TruncF32U | O::I32TruncF64S | O::I32TruncF64U => Effect::Observe { operands: 1 },
        O::I64TruncF32S | O::I64TruncF32U | O::I64TruncF64S | O::I64TruncF64U => Effect::Observe { operands: 1 },
        O::I32TruncSatF32S | O::I32TruncSatF32U | O::I32TruncSatF64S | O::I32TruncSatF64U => {
            Effect::Observe { operands: 1 }
        }
        O::I64TruncSatF32S | O::I64TruncSatF32U | O::I64TruncSatF64S | O::I64TruncSatF64U => {
            Effect::Observe { operands: 1 }
        }
        O::Drop => Effect::Observe { operands: 1 },
        other => vector_effect(other),
    }
}

/// A constant NaN that is not the canonical one has bits that matter.
fn constant(nan: bool, canonical: bool) -> Effect {
    if nan && !canonical { Effect::Opaque } else { Effect::Fresh { operands: 0 } }
}

fn vector_effect(operator: &Operator<'_>) -> Effect {
    use Operator as O;
    let arithmetic = |operands, result| Effect::Arithmetic { operands, result };
    match operator {
        O::F32x4Add | O::F32x4Sub | O::F32x4Mul | O::F32x4Div | O::F32x4Min | O::F32x4Max => {
            arithmetic(2, Shape::F32x4)
        }
        O::F64x2Add | O::F64x2Sub | O::F64x2Mul | O::F64x2Div | O::F64x2Min | O::F64x2Max => {
            arithmetic(2, Shape::F64x2)
        }
        O::F32x4Ceil | O::F32x4Floor | O::F32x4Trunc | O::F32x4Nearest | O::F32x4Sqrt => arithmetic(1, Shape::F32x4),
        O::F64x2Ceil | O::F64x2Floor | O::F64x2Trunc | O::F64x2Nearest | O::F64x2Sqrt => arithmetic(1, Shape::F64x2),
        O::F32x4DemoteF64x2Zero => arithmetic(1, Shape::F32x4),
        O::F64x2PromoteLowF32x4 => arithmetic(1, Shape::F64x2),
        O::F32x4Abs => Effect::Abs(Shape::F32x4),
        O::F64x2Abs => Effect::Abs(Shape::F64x2),
        O::F32x4Eq | O::F32x4Ne | O::F32x4Lt | O::F32x4Gt | O::F32x4Le | O::F32x4Ge => Effect::Observe { operands: 2 },
        O::F64x2Eq | O::F64x2Ne | O::F64x2Lt | O::F64x2Gt | O::F64x2Le | O::F64x2Ge => Effect::Observe { operands: 2 },
        O::I32x4TruncSatF32x4S | O::I32x4TruncSatF32x4U => Effect::Observe { operands: 1 },
        O::I32x4TruncSatF64x2SZero | O::I32x4TruncSatF64x2UZero => Effect::Observe { operands: 1 },
        _ => Effect::Opaque,
    }
}
