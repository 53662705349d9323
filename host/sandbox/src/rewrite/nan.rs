//! Where NaNs must be made canonical, so that no bit of a NaN that arithmetic made is ever seen.
//!
//! The result of arithmetic is *loose*: if it is a NaN, its sign and payload are the machine's whim. All other floats
//! are *exact*: loads, parameters, call results, most constants; programs hide pointers in the bits of such NaNs,
//! so they must never be touched. A loose value is made canonical as soon as it is made if its bits can be seen where
//! it goes (a store, a reinterpretation, a call, a return, a global, the edge of a block, ...), or if it goes where
//! exact values go as well and would lose its origin (a local, a `select`). Then the program sees what it would see
//! if every arithmetic result were canonical, while a chain of arithmetic pays once at its end.
//!
//! For each body, a graph of where floats flow: nodes are float-valued operators and locals, edges lead from what
//! makes a value to what holds it. Exactness spreads along edges first; then looseness, but not into what is exact.
//! What is loose and flows into an exact node, or into a sink, is made canonical at the operator that made it.
//! Values that are neither (integers converted, constants that are no NaN) fit anywhere. Locals are classed once for
//! a body, whatever the order of its assignments; vectors in locals and across blocks are always exact.

use wasmparser::{
    FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody, Operator, Parser, ValType, ValidPayload,
    Validator, ValidatorResources,
};

use super::Fault;
use super::floats::{self, Effect, Shape};
use crate::validate::features;

/// What one body needs.
#[derive(Debug, Default)]
pub(super) struct Plan {
    parameters: u32,
    canonicalized: Vec<(u32, Shape)>,
}

impl Plan {
    /// Parameters of the function: its own locals have the indices after them.
    pub(super) fn parameters(&self) -> u32 {
        self.parameters
    }

    /// The operators, by their number in the body and in its order, after which the value on top of the stack is to be
    /// made canonical.
    pub(super) fn canonicalized(&self) -> &[(u32, Shape)] {
        &self.canonicalized
    }
}

/// Plans for all functions that a module defines.
pub(super) fn plan_module(bytes: &[u8]) -> Result<Vec<Plan>, Fault> {
    let mut parser = Parser::new(0);
    parser.set_features(features::ACCEPTED);
    let mut validator = Validator::new_with_features(features::ACCEPTED);
    let mut allocations = FuncValidatorAllocations::default();
    let mut plans = Vec::new();
    for payload in parser.parse_all(bytes) {
        if let ValidPayload::Func(function, body) = validator.payload(&payload?)? {
            plans.push(plan_body(function, &body, &mut allocations)?);
        }
    }
    Ok(plans)
}

fn plan_body(
    function: FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'_>,
    allocations: &mut FuncValidatorAllocations,
) -> Result<Plan, Fault> {
    let mut validator = function.into_validator(std::mem::take(allocations));
    let parameters = validator.len_locals();
    validator.read_locals(&mut body.get_binary_reader())?;
    let mut flow = Flow::new(&validator, parameters);
    let mut operators = body.get_operators_reader()?;
    for index in 0_u32.. {
        if operators.eof() {
            break;
        }
        let (operator, offset) = operators.read_with_offset()?;
        flow.step(index, &operator, offset, &mut validator)?;
    }
    *allocations = validator.into_allocations();
    Ok(Plan { parameters, canonicalized: flow.graph.solve() })
}

/// What is known of a value on the operand stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// No float, or a float that is no NaN or the canonical one.
    Plain,
    /// Its bits matter as they are.
    Exact,
    /// Depends on where it comes from.
    Node(u32),
}

/// The operand stack of one body as it is walked, and the graph that grows from it.
struct Flow {
    stack: Vec<Value>,
    /// The node of each local that is a scalar float.
    locals: Vec<Option<u32>>,
    graph: Graph,
}

impl Flow {
    fn new(validator: &FuncValidator<ValidatorResources>, parameters: u32) -> Flow {
        let mut graph = Graph::default();
        let locals = (0..validator.len_locals()).map(|index| {
            let shape = match validator.get_local_type(index) {
                Some(ValType::F32) => Shape::F32,
                Some(ValType::F64) => Shape::F64,
                _ => return None,
            };
            let node = graph.node(None, shape);
            if index < parameters {
                graph.flow(Value::Exact, node);
            }
            Some(node)
        });
        let locals = locals.collect();
        Flow { stack: Vec::new(), locals, graph }
    }

    fn step(
        &mut self,
        index: u32,
        operator: &Operator<'_>,
        offset: usize,
        validator: &mut FuncValidator<ValidatorResources>,
    ) -> Result<(), Fault> {
        let (takes, makes) = operator.operator_arity(&*validator).ok_or_else(|| Fault(format!("arity at {offset}")))?;
        let reachable = |validator: &FuncValidator<_>| validator.get_control_frame(0).is_some_and(|f| !f.unreachable);
        let reached = reachable(validator);
        validator.op(offset, operator)?;
        let height = validator.operand_stack_height() as usize;
        if reached {
            self.run(index, operator, takes as usize, makes as usize);
            if reachable(validator) && self.stack.len() != height {
                return Err(Fault(format!("stack of {} instead of {height} at offset {offset}", self.stack.len())));
            }
        }
        // What is not reached makes nothing; but what follows its block finds the stack as validated.
        if self.stack.len() != height || !reached {
            self.stack.truncate(height.saturating_sub(makes as usize));
            self.stack.resize(height, Value::Exact);
        }
        Ok(())
    }

    fn run(&mut self, index: u32, operator: &Operator<'_>, takes: usize, makes: usize) {
        match operator {
            Operator::LocalGet { local_index } => {
                let value = self.read_local(index, *local_index);
                self.stack.push(value);
            }
            Operator::LocalSet { local_index } => self.write_local(*local_index),
            Operator::LocalTee { local_index } => {
                self.write_local(*local_index);
                let value = self.read_local(index, *local_index);
                self.stack.push(value);
            }
            Operator::Select | Operator::TypedSelect { .. } => self.select(index),
            // Those that are not taken go on with the same values, which are canonical by then.
            Operator::BrIf { .. } => {
                self.pop();
                let from = self.stack.len().saturating_sub(makes);
                for at in from..self.stack.len() {
                    self.graph.sink(self.stack[at]);
                }
            }
            _ => self.compute(index, operator, takes, makes),
        }
    }

    fn compute(&mut self, index: u32, operator: &Operator<'_>, takes: usize, makes: usize) {
        match floats::effect(operator) {
            Effect::Arithmetic { operands, result } => {
                self.observe(operands, floats::operand_shape(operator));
                let node = self.graph.node(Some(index), result);
                self.graph.loose(node);
                self.stack.push(Value::Node(node));
            }
            Effect::Abs(shape) => {
                let operand = self.pop();
                let result = match self.graph.shape(operand) {
                    Some(made) if made == shape => {
                        let node = self.graph.node(Some(index), shape);
                        self.graph.flow(operand, node);
                        Value::Node(node)
                    }
                    Some(_) => {
                        self.graph.sink(operand);
                        Value::Exact
                    }
                    None => operand,
                };
                self.stack.push(result);
            }
            Effect::Observe { operands } => {
                self.observe(operands, floats::operand_shape(operator));
                self.stack.extend((0..makes).map(|_| Value::Plain));
            }
            Effect::Fresh { operands } => {
                self.observe(operands, None);
                self.stack.push(Value::Plain);
            }
            Effect::Opaque => {
                for _ in 0..takes {
                    let operand = self.pop();
                    self.graph.sink(operand);
                }
                self.stack.extend((0..makes).map(|_| Value::Exact));
            }
        }
    }

    /// Takes operands whose bits stay unseen; of vectors only if they were made in the same shape.
    fn observe(&mut self, operands: usize, vector: Option<Shape>) {
        for _ in 0..operands {
            let operand = self.pop();
            self.sink_unless(operand, vector);
        }
    }

    fn sink_unless(&mut self, operand: Value, vector: Option<Shape>) {
        if vector.is_some_and(|shape| self.graph.shape(operand).is_some_and(|made| made != shape)) {
            self.graph.sink(operand);
        }
    }

    fn select(&mut self, index: u32) {
        self.pop();
        let (second, first) = (self.pop(), self.pop());
        let shape = self.graph.shape(first).or(self.graph.shape(second));
        let result = match shape {
            Some(shape @ (Shape::F32 | Shape::F64)) => {
                let node = self.graph.node(Some(index), shape);
                self.graph.flow(first, node);
                self.graph.flow(second, node);
                Value::Node(node)
            }
            Some(_) => {
                self.graph.sink(first);
                self.graph.sink(second);
                Value::Exact
            }
            None if first == Value::Plain && second == Value::Plain => Value::Plain,
            None => Value::Exact,
        };
        self.stack.push(result);
    }

    fn read_local(&mut self, index: u32, local: u32) -> Value {
        match self.locals.get(local as usize) {
            Some(Some(from)) => {
                let node = self.graph.node(Some(index), self.graph.shapes[*from as usize]);
                self.graph.flow(Value::Node(*from), node);
                Value::Node(node)
            }
            _ => Value::Exact,
        }
    }

    fn write_local(&mut self, local: u32) {
        let value = self.pop();
        match self.locals.get(local as usize) {
            Some(Some(node)) => self.graph.flow(value, *node),
            _ => self.graph.sink(value),
        }
    }

    fn pop(&mut self) -> Value {
        self.stack.pop().unwrap_or(Value::Exact)
    }
}

/// Where floats flow in one body.
#[derive(Default)]
struct Graph {
    /// The operator that makes a node's value; none for locals, whose values were made elsewhere.
    made_by: Vec<Option<u32>>,
    shapes: Vec<Shape>,
    exact: Vec<bool>,
    loose: Vec<bool>,
    sunk: Vec<bool>,
    edges: Vec<(u32, u32)>,
}

impl Graph {
    fn node(&mut self, made_by: Option<u32>, shape: Shape) -> u32 {
        self.made_by.push(made_by);
        self.shapes.push(shape);
        self.exact.push(false);
        self.loose.push(false);
        self.sunk.push(false);
        // A body has at most `limits::FUNCTION_BYTES` operators.
        (self.made_by.len() - 1) as u32
    }

    fn shape(&self, value: Value) -> Option<Shape> {
        match value {
            Value::Node(node) => Some(self.shapes[node as usize]),
            Value::Plain | Value::Exact => None,
        }
    }

    fn loose(&mut self, node: u32) {
        self.loose[node as usize] = true;
    }

    fn flow(&mut self, from: Value, to: u32) {
        match from {
            Value::Plain => {}
            Value::Exact => self.exact[to as usize] = true,
            Value::Node(from) => self.edges.push((from, to)),
        }
    }

    fn sink(&mut self, value: Value) {
        if let Value::Node(node) = value {
            self.sunk[node as usize] = true;
        }
    }

    /// The operators after which to canonicalize, in order.
    fn solve(mut self) -> Vec<(u32, Shape)> {
        let successors = Successors::new(self.made_by.len(), &self.edges);
        let arithmetic = self.loose.clone();
        spread(&successors, &mut self.exact, &arithmetic);
        let exact = self.exact.clone();
        spread(&successors, &mut self.loose, &exact);
        for (from, to) in &self.edges {
            if exact[*to as usize] {
                self.sunk[*from as usize] = true;
            }
        }
        let nodes = self.made_by.iter().zip(&self.shapes).zip(self.loose.iter().zip(&self.sunk).zip(&exact));
        let mut found: Vec<_> = nodes
            .filter(|(_, ((loose, sunk), exact))| **loose && **sunk && !**exact)
            .filter_map(|((made_by, shape), _)| made_by.map(|operator| (operator, *shape)))
            .collect();
        found.sort_unstable_by_key(|(operator, _)| *operator);
        found
    }
}

/// Marks what can be reached from what is marked, never entering what is closed.
fn spread(successors: &Successors, marked: &mut [bool], closed: &[bool]) {
    let mut open: Vec<usize> = (0..marked.len()).filter(|node| marked[*node]).collect();
    while let Some(node) = open.pop() {
        for next in successors.of(node) {
            let next = *next as usize;
            if !marked[next] && !closed[next] {
                marked[next] = true;
                open.push(next);
            }
        }
    }
}

/// A graph's edges, grouped by where they begin.
struct Successors {
    first: Vec<usize>,
    targets: Vec<u32>,
}

impl Successors {
    fn new(nodes: usize, edges: &[(u32, u32)]) -> Successors {
        let mut first = vec![0; nodes + 1];
        for (from, _) in edges {
            first[*from as usize + 1] += 1;
        }
        for node in 0..nodes {
            first[node + 1] += first[node];
        }
        let mut next = first.clone();
        let mut targets = vec![0; edges.len()];
        for (from, to) in edges {
            let slot = &mut next[*from as usize];
            targets[*slot] = *to;
            *slot += 1;
        }
        Successors { first, targets }
    }

    fn of(&self, node: usize) -> &[u32] {
        &self.targets[self.first[node]..self.first[node + 1]]
    }
}
