//! Function bodies: validity, operators that are refused although their proposal is accepted, and the bounds that
//! keep compilation and straight-line execution short.

use ringside_core::limits;
use wasmparser::{
    BlockType, FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody, Operator, ValidatorResources,
    WasmModuleResources,
};

use super::features;
use crate::rewrite::floats;
use crate::upload_error::{Place, UploadError};

/// What the bodies so far add up to.
#[derive(Default)]
pub(super) struct Bodies {
    allocations: FuncValidatorAllocations,
    functions: u32,
    code_bytes: usize,
    joins: u64,
    uses_simd_floats: bool,
}

const SPLIT: &str = "split the function";

impl Bodies {
    /// Whether any body does floating-point arithmetic on vectors.
    pub(super) fn uses_simd_floats(&self) -> bool {
        self.uses_simd_floats
    }

    /// Checks the next body.
    pub(super) fn check(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), UploadError> {
        let index = function.index;
        self.count(index, body)?;
        let mut validator = function.into_validator(std::mem::take(&mut self.allocations));
        let joins = self.operators(&mut validator, body)?;
        self.joins = self.joins.saturating_add(joins);
        let place = Place::in_function(index, body.range().start);
        let advice =
            "the module has too much branching code with too many local variables; split it or build it optimized";
        at_most("locals times blocks", self.joins, limits::MODULE_JOINS, Some(place), advice)?;
        self.allocations = validator.into_allocations();
        Ok(())
    }

    fn count(&mut self, index: u32, body: &FunctionBody<'_>) -> Result<(), UploadError> {
        self.functions += 1;
        self.code_bytes += body.range().len();
        let place = Some(Place::in_function(index, body.range().start));
        at_most(
            "bytes in one function",
            body.range().len() as u64,
            limits::FUNCTION_BYTES as u64,
            place.clone(),
            SPLIT,
        )?;
        let advice = "build it optimized for size, and put tables into data";
        at_most("bytes of code", self.code_bytes as u64, limits::MODULE_CODE_BYTES as u64, place, advice)
    }

    /// Validates all operators; returns what the function costs to bring into SSA form.
    fn operators(
        &mut self,
        validator: &mut FuncValidator<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<u64, UploadError> {
        let index = validator.index();
        let invalid = |error: wasmparser::Error| features::explain(&error, Some(index));
        let mut locals = body.get_binary_reader();
        validator.read_locals(&mut locals).map_err(invalid)?;
        let limit = |what, found: u64, limit: u64, offset| {
            at_most(what, found, limit, Some(Place::in_function(index, offset)), SPLIT)
        };
        let local_count = u64::from(validator.len_locals());
        limit("locals in one function", local_count, u64::from(limits::FUNCTION_LOCALS), body.range().start)?;
        let mut operators = body.get_operators_reader().map_err(invalid)?;
        let (mut blocks, mut loops) = (0_u64, 0_u64);
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset().map_err(invalid)?;
            refuse(&operator, index, offset)?;
            validator.op(offset, &operator).map_err(invalid)?;
            self.uses_simd_floats |= floats::is_vector_arithmetic(&operator);
            if let Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } = operator {
                blocks += 1;
                loops += u64::from(matches!(operator, Operator::Loop { .. }));
                limit(
                    "values into or out of a block",
                    arity(validator, blockty),
                    limits::FUNCTION_RESULTS as u64,
                    offset,
                )?;
                let depth = u64::from(validator.control_stack_height());
                limit("blocks inside one another", depth, u64::from(limits::FUNCTION_NESTING), offset)?;
            } else if matches!(operator, Operator::Else | Operator::BrIf { .. } | Operator::BrTable { .. }) {
                blocks += 1;
            }
            limit("locals times blocks", local_count * blocks, limits::FUNCTION_JOINS, offset)?;
        }
        limit("loops in one function", loops, u64::from(limits::FUNCTION_LOOPS), body.range().start)?;
        operators.finish().map_err(invalid)?;
        Ok(local_count * blocks)
    }
}

/// More parameters or results, whichever are more, of a block.
fn arity(validator: &FuncValidator<ValidatorResources>, ty: BlockType) -> u64 {
    let BlockType::FuncType(index) = ty else { return 1 };
    let function = validator.resources().sub_type_at(index).map(|ty| ty.unwrap_func());
    function.map_or(0, |ty| ty.params().len().max(ty.results().len()) as u64)
}

fn refuse(operator: &Operator<'_>, function: u32, offset: usize) -> Result<(), UploadError> {
    let feature = match operator {
        Operator::TableSet { .. } => "table.set",
        Operator::TableGrow { .. } => "table.grow",
        Operator::TableFill { .. } => "table.fill",
        Operator::TableCopy { .. } => "table.copy",
        Operator::TableInit { .. } => "table.init",
        _ => return Ok(()),
    };
    let advice = "tables are not part of a session's state and must not change; fill them by active element segments";
    Err(UploadError::Feature { feature, place: Place::in_function(function, offset), advice })
}

/// The refusal of more than a limit.
pub(super) fn at_most(
    what: &'static str,
    found: u64,
    limit: u64,
    place: Option<Place>,
    advice: &'static str,
) -> Result<(), UploadError> {
    if found <= limit {
        return Ok(());
    }
    Err(UploadError::Limit { what, found, limit, place, advice })
}
