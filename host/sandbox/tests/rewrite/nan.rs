//! NaNs: a generator of programs in which they are everywhere, and the cases of which it should be known that
//! they are right.

use ringside_protocol::fuzz::Mutator;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, Ieee32, Ieee64, Instruction as I, MemArg, MemorySection, MemoryType, Module,
    TypeSection, ValType,
};
use wasmtime::Val;

use crate::differential::{Compared, Pair};
use crate::harness::{Guest, Value, engine, float32, float64, rewritten};

/// Types of the functions: parameters and results.
const SIGNATURES: &[(&[ValType], &[ValType])] = &[
    (&[ValType::F64, ValType::F64, ValType::F32], &[ValType::F64]),
    (&[ValType::F32, ValType::F64], &[ValType::F32]),
    (&[ValType::F64, ValType::F32, ValType::V128], &[ValType::F32, ValType::F64]),
    (&[ValType::F64], &[ValType::V128]),
];
/// Types of blocks that take what they give, by their index.
const BLOCKS: &[&[ValType]] = &[&[ValType::F64], &[ValType::F32], &[ValType::V128], &[ValType::F32, ValType::F64]];
/// Own locals of each function: counters first.
const LOCALS: &[ValType] = &[
    ValType::I32,
    ValType::I32,
    ValType::I32,
    ValType::F32,
    ValType::F32,
    ValType::F32,
    ValType::F64,
    ValType::F64,
    ValType::F64,
    ValType::F64,
    ValType::V128,
    ValType::V128,
];
const COUNTERS: usize = 3;
const GLOBALS: &[ValType] = &[ValType::F32, ValType::F64, ValType::V128];

/// One body under construction.
struct Body<'r> {
    random: &'r mut Mutator,
    code: Vec<I<'static>>,
    /// Parameters and locals.
    locals: Vec<ValType>,
    parameters: usize,
    /// Functions that may be called: all of a lower number.
    callable: usize,
    loops: usize,
}

impl Body<'_> {
    fn pick(&mut self, instructions: &[I<'static>]) {
        let chosen = instructions[self.random.below(instructions.len())].clone();
        self.code.push(chosen);
    }

    fn place(&mut self, align: u32) -> MemArg {
        MemArg { offset: self.random.below(2000) as u64, align, memory_index: 0 }
    }

    fn address(&mut self) {
        let address = self.random.below(60_000) as i32;
        self.code.push(I::I32Const(address));
    }

    fn local(&mut self, ty: ValType) -> u32 {
        let fitting: Vec<usize> = (0..self.locals.len())
            .filter(|index| self.locals[*index] == ty && !(self.parameters..self.parameters + COUNTERS).contains(index))
            .collect();
        fitting[self.random.below(fitting.len())] as u32
    }

    fn expression(&mut self, ty: ValType, depth: usize) {
        if depth > 0 && ty != ValType::I32 && ty != ValType::I64 && self.random.below(4) == 0 {
            return self.structured(ty, depth - 1);
        }
        match ty {
            ValType::F32 => self.f32(depth),
            ValType::F64 => self.f64(depth),
            ValType::V128 => self.v128(depth),
            ValType::I32 => self.i32(depth),
            _ => self.i64(depth),
        }
    }

    /// What exists for every float type: locals, globals, selects, blocks, calls.
    fn structured(&mut self, ty: ValType, depth: usize) {
        let index = BLOCKS.iter().position(|block| *block == [ty]).expect("one for each type");
        let block = BlockType::FunctionType((SIGNATURES.len() + index) as u32);
        match self.random.below(9) {
            0 => {
                self.expression(ty, depth);
                let local = self.local(ty);
                self.code.push(I::LocalTee(local));
            }
            1 => {
                self.expression(ty, depth);
                self.expression(ty, depth);
                self.expression(ValType::I32, depth);
                self.code.push(if self.random.below(2) == 0 && ty != ValType::V128 {
                    I::Select
                } else {
                    I::TypedSelect(ty)
                });
            }
            2 => {
                self.expression(ValType::I32, depth);
                self.code.push(I::If(BlockType::Result(ty)));
                self.expression(ty, depth);
                self.code.push(I::Else);
                self.statements(depth, 1);
                self.expression(ty, depth);
                self.code.push(I::End);
            }
            3 => {
                self.code.push(I::Block(BlockType::Result(ty)));
                self.expression(ty, depth);
                self.expression(ValType::I32, depth);
                self.code.push(I::BrIf(0));
                if self.random.below(2) == 0 {
                    let local = self.local(ty);
                    self.code.push(I::LocalSet(local));
                    self.expression(ty, depth);
                }
                self.code.push(I::End);
            }
            4 => {
                self.code.push(I::Block(BlockType::Result(ty)));
                self.code.push(I::Block(BlockType::Result(ty)));
                self.expression(ty, depth);
                self.expression(ValType::I32, depth);
                self.code.push(I::BrTable(vec![0, 1].into(), 0));
                self.code.push(I::End);
                let local = self.local(ty);
                self.code.push(I::LocalTee(local));
                self.code.push(I::End);
            }
            5 => {
                self.expression(ty, depth);
                self.code.push(I::Block(block));
                let local = self.local(ty);
                self.code.push(I::LocalSet(local));
                self.expression(ty, depth);
                self.code.push(I::End);
            }
            6 => {
                self.expression(ty, depth);
                self.counted_loop(block, |body| {
                    let local = body.local(ty);
                    body.code.push(I::LocalTee(local));
                    body.statements(depth, 1);
                });
            }
            7 if SIGNATURES[..self.callable].iter().any(|(_, results)| *results == [ty]) => {
                let callee = SIGNATURES.iter().position(|(_, results)| *results == [ty]).expect("there");
                for parameter in SIGNATURES[callee].0 {
                    self.expression(*parameter, depth);
                }
                self.code.push(I::Call(callee as u32));
            }
            _ => {
                let index = GLOBALS.iter().position(|global| *global == ty).expect("one for each type");
                self.code.push(I::GlobalGet(index as u32));
            }
        }
    }

    /// A loop of the block type that runs a few times.
    fn counted_loop(&mut self, block: BlockType, inner: impl FnOnce(&mut Self)) {
        if self.loops == COUNTERS {
            return;
        }
        let counter = (self.parameters + self.loops) as u32;
        self.loops += 1;
        self.code.extend([I::I32Const(0), I::LocalSet(counter), I::Loop(block)]);
        inner(self);
        self.code.extend([I::LocalGet(counter), I::I32Const(1), I::I32Add, I::LocalTee(counter)]);
        self.code.extend([I::I32Const(3), I::I32LtU, I::BrIf(0), I::End]);
        self.loops -= 1;
    }

    fn f64(&mut self, depth: usize) {
        let leaf = depth == 0;
        match self.random.below(if leaf { 3 } else { 12 }) {
            0 => {
                let bits = float64(self.random);
                self.code.push(I::F64Const(Ieee64::new(bits)));
            }
            1 => {
                let local = self.local(ValType::F64);
                self.code.push(I::LocalGet(local));
            }
            2 => {
                self.address();
                let place = self.place(3);
                self.code.push(I::F64Load(place));
            }
            3..=6 => {
                self.expression(ValType::F64, depth - 1);
                self.expression(ValType::F64, depth - 1);
                self.pick(&[I::F64Add, I::F64Sub, I::F64Mul, I::F64Div, I::F64Min, I::F64Max, I::F64Copysign]);
            }
            7 | 8 => {
                self.expression(ValType::F64, depth - 1);
                self.pick(&[
                    I::F64Sqrt,
                    I::F64Ceil,
                    I::F64Floor,
                    I::F64Trunc,
                    I::F64Nearest,
                    I::F64Neg,
                    I::F64Abs,
                    I::F64Abs,
                ]);
            }
            9 => {
                self.expression(ValType::F32, depth - 1);
                self.code.push(I::F64PromoteF32);
            }
            10 => {
                self.expression(ValType::I64, depth - 1);
                self.pick(&[I::F64ReinterpretI64, I::F64ConvertI64S, I::F64ConvertI64U]);
            }
            _ => {
                self.expression(ValType::V128, depth - 1);
                self.code.push(I::F64x2ExtractLane(1));
            }
        }
    }

    fn f32(&mut self, depth: usize) {
        let leaf = depth == 0;
        match self.random.below(if leaf { 3 } else { 12 }) {
            0 => {
                let bits = float32(self.random);
                self.code.push(I::F32Const(Ieee32::new(bits)));
            }
            1 => {
                let local = self.local(ValType::F32);
                self.code.push(I::LocalGet(local));
            }
            2 => {
                self.address();
                let place = self.place(2);
                self.code.push(I::F32Load(place));
            }
            3..=6 => {
                self.expression(ValType::F32, depth - 1);
                self.expression(ValType::F32, depth - 1);
                self.pick(&[I::F32Add, I::F32Sub, I::F32Mul, I::F32Div, I::F32Min, I::F32Max, I::F32Copysign]);
            }
            7 | 8 => {
                self.expression(ValType::F32, depth - 1);
                self.pick(&[
                    I::F32Sqrt,
                    I::F32Ceil,
                    I::F32Floor,
                    I::F32Trunc,
                    I::F32Nearest,
                    I::F32Neg,
                    I::F32Abs,
                    I::F32Abs,
                ]);
            }
            9 => {
                self.expression(ValType::F64, depth - 1);
                self.code.push(I::F32DemoteF64);
            }
            10 => {
                self.expression(ValType::I32, depth - 1);
                self.pick(&[I::F32ReinterpretI32, I::F32ConvertI32S, I::F32ConvertI32U]);
            }
            _ => {
                self.expression(ValType::V128, depth - 1);
                self.code.push(I::F32x4ExtractLane(2));
            }
        }
    }

    fn v128(&mut self, depth: usize) {
        let leaf = depth == 0;
        match self.random.below(if leaf { 3 } else { 12 }) {
            0 => {
                let bits = u128::from(float64(self.random)) << 64 | u128::from(float64(self.random));
                self.code.push(I::V128Const(bits as i128));
            }
            1 => {
                let local = self.local(ValType::V128);
                self.code.push(I::LocalGet(local));
            }
            2 => {
                self.address();
                let place = self.place(4);
                self.code.push(I::V128Load(place));
            }
            3..=5 => {
                self.expression(ValType::V128, depth - 1);
                self.expression(ValType::V128, depth - 1);
                self.pick(&[
                    I::F32x4Add,
                    I::F32x4Sub,
                    I::F32x4Mul,
                    I::F32x4Div,
                    I::F32x4Min,
                    I::F32x4Max,
                    I::F32x4PMin,
                    I::F32x4PMax,
                    I::F64x2Add,
                    I::F64x2Sub,
                    I::F64x2Mul,
                    I::F64x2Div,
                    I::F64x2Min,
                    I::F64x2Max,
                    I::F64x2PMin,
                    I::F64x2PMax,
                    I::F32x4Lt,
                    I::F64x2Eq,
                    I::I32x4Add,
                    I::V128Xor,
                ]);
            }
            6 | 7 => {
                self.expression(ValType::V128, depth - 1);
                self.pick(&[
                    I::F32x4Sqrt,
                    I::F32x4Ceil,
                    I::F32x4Abs,
                    I::F32x4Neg,
                    I::F64x2Sqrt,
                    I::F64x2Nearest,
                    I::F64x2Abs,
                    I::F64x2Neg,
                    I::F32x4DemoteF64x2Zero,
                    I::F64x2PromoteLowF32x4,
                    I::I32x4TruncSatF32x4S,
                    I::F32x4ConvertI32x4S,
                    I::V128Not,
                    I::F32x4Abs,
                    I::F64x2Abs,
                ]);
            }
            8 => {
                self.expression(ValType::F64, depth - 1);
                self.code.push(I::F64x2Splat);
            }
            9 => {
                self.expression(ValType::F32, depth - 1);
                self.code.push(I::F32x4Splat);
            }
            10 => {
                self.expression(ValType::V128, depth - 1);
                self.expression(ValType::F32, depth - 1);
                self.code.push(I::F32x4ReplaceLane(1));
            }
            _ => {
                self.expression(ValType::V128, depth - 1);
                self.expression(ValType::V128, depth - 1);
                self.expression(ValType::V128, depth - 1);
                self.code.push(I::V128Bitselect);
            }
        }
    }

    fn i64(&mut self, depth: usize) {
        if depth == 0 || self.random.below(5) == 0 {
            let bits = float64(self.random);
            return self.code.push(I::I64Const(bits as i64));
        }
        self.expression(ValType::F64, depth - 1);
        self.pick(&[I::I64ReinterpretF64, I::I64ReinterpretF64, I::I64TruncSatF64S]);
    }

    fn i32(&mut self, depth: usize) {
        match self.random.below(if depth == 0 { 1 } else { 4 }) {
            0 => {
                let value = self.random.below(3) as i32;
                self.code.push(I::I32Const(value));
            }
            1 => {
                self.expression(ValType::F64, depth - 1);
                self.expression(ValType::F64, depth - 1);
                self.pick(&[I::F64Eq, I::F64Ne, I::F64Lt, I::F64Ge]);
            }
            2 => {
                self.expression(ValType::F32, depth - 1);
                self.pick(&[I::I32ReinterpretF32, I::I32TruncSatF32U]);
            }
            _ => {
                self.expression(ValType::V128, depth - 1);
                self.pick(&[I::V128AnyTrue, I::I32x4AllTrue, I::I32x4ExtractLane(3)]);
            }
        }
    }

    fn statements(&mut self, depth: usize, count: usize) {
        for _ in 0..count {
            self.statement(depth);
        }
    }

    fn statement(&mut self, depth: usize) {
        let ty = [ValType::F32, ValType::F64, ValType::F64, ValType::V128][self.random.below(4)];
        match self.random.below(if depth == 0 { 3 } else { 9 }) {
            0 => {
                self.expression(ty, depth);
                let local = self.local(ty);
                self.code.push(I::LocalSet(local));
            }
            1 | 2 => {
                self.address();
                self.expression(ty, depth);
                let place = self.place(0);
                self.code.push(match ty {
                    ValType::F32 => I::F32Store(place),
                    ValType::F64 => I::F64Store(place),
                    _ => I::V128Store(place),
                });
            }
            3 => {
                self.expression(ty, depth);
                let index = GLOBALS.iter().position(|global| *global == ty).expect("one for each type");
                self.code.push(I::GlobalSet(index as u32));
            }
            4 => {
                self.expression(ty, depth);
                self.code.push(I::Drop);
            }
            5 => {
                self.expression(ValType::I32, depth - 1);
                self.code.push(I::If(BlockType::Empty));
                self.statements(depth - 1, 2);
                self.code.push(I::Else);
                self.statements(depth - 1, 1);
                self.code.push(I::End);
            }
            6 => {
                self.code.push(I::Block(BlockType::Empty));
                self.statements(depth - 1, 1);
                self.expression(ValType::I32, depth - 1);
                self.code.push(I::BrIf(0));
                self.statements(depth - 1, 1);
                if self.random.below(4) == 0 {
                    self.code.push(I::Br(0));
                    self.statements(depth - 1, 1);
                }
                self.code.push(I::End);
            }
            7 if self.callable > 2 => {
                for parameter in SIGNATURES[2].0 {
                    self.expression(*parameter, depth - 1);
                }
                self.code.push(I::Call(2));
                let wide = self.local(ValType::F64);
                self.code.push(I::LocalSet(wide));
                let narrow = self.local(ValType::F32);
                self.code.push(I::LocalSet(narrow));
            }
            _ => self.counted_loop(BlockType::Empty, |body| body.statements(depth - 1, 2)),
        }
    }
}

fn function(random: &mut Mutator, number: usize) -> Function {
    let (parameters, results) = SIGNATURES[number];
    let locals = parameters.iter().chain(LOCALS).copied().collect();
    let mut body = Body { random, code: Vec::new(), locals, parameters: parameters.len(), callable: number, loops: 0 };
    body.statements(4, 8);
    if body.random.below(4) == 0 {
        body.expression(ValType::I32, 2);
        body.code.push(I::If(BlockType::Empty));
        results.iter().for_each(|ty| body.expression(*ty, 3));
        body.code.extend([I::Return, I::End]);
    }
    results.iter().for_each(|ty| body.expression(*ty, 4));
    body.code.push(I::End);
    let mut function = Function::new(LOCALS.iter().map(|ty| (1, *ty)));
    body.code.iter().for_each(|instruction| {
        function.instruction(instruction);
    });
    function
}

/// A program full of NaNs, made by arithmetic and otherwise.
fn program(seed: u64) -> Vec<u8> {
    let random = &mut Mutator::new(seed);
    let (mut types, mut functions, mut exports, mut code) =
        (TypeSection::new(), FunctionSection::new(), ExportSection::new(), CodeSection::new());
    for (number, (parameters, results)) in SIGNATURES.iter().enumerate() {
        types.ty().function(parameters.iter().copied(), results.iter().copied());
        functions.function(number as u32);
        exports.export(&format!("f{number}"), ExportKind::Func, number as u32);
        code.function(&function(random, number));
    }
    for block in BLOCKS {
        types.ty().function(block.iter().copied(), block.iter().copied());
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: Some(1), memory64: false, shared: false, page_size_log2: None });
    exports.export("memory", ExportKind::Memory, 0);
    let mut globals = GlobalSection::new();
    for (index, ty) in GLOBALS.iter().enumerate() {
        let initial = match ty {
            ValType::F32 => ConstExpr::f32_const(Ieee32::new(0xffc0_0001)),
            ValType::F64 => ConstExpr::f64_const(Ieee64::new(0x7ff0_0000_0000_0001)),
            _ => ConstExpr::v128_const(-1),
        };
        globals.global(GlobalType { val_type: *ty, mutable: true, shared: false }, &initial);
        exports.export(&format!("g{index}"), ExportKind::Global, index as u32);
    }
    let mut data = DataSection::new();
    data.active(
        0,
        &ConstExpr::i32_const(0),
        (0..8000).flat_map(|_| float64(random).to_le_bytes()).collect::<Vec<u8>>(),
    );
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&globals).section(&exports);
    module.section(&code).section(&data);
    module.finish()
}

#[test]
fn float_programs_compute_the_same() {
    let pair = Pair::new();
    for seed in 0..250 {
        let original = program(seed);
        let rewritten = rewritten(&original);
        for round in 0..3 {
            let compared = pair.compare(&original, &rewritten, &mut Mutator::new(seed << 8 | round));
            assert_eq!(compared, Compared::Equal(SIGNATURES.len()), "seed {seed}");
        }
    }
}

fn run(text: &str, arguments: &[Val]) -> Vec<Value> {
    let bytes = rewritten(&wat::parse_str(text).expect("text"));
    let mut guest = Guest::new(&engine(false), &bytes).expect("instantiates");
    guest.call("run", arguments).expect("returns")
}

const BOXED: u64 = 0xfffc_dead_beef_0001;
const CANONICAL: u64 = 0x7ff8_0000_0000_0000;

/// A function of two floats of which the second is zero: `0/0` is a NaN that x86 makes negative.
fn of_floats(body: &str, result: &str) -> String {
    format!(
        "(module (memory 1) (global $g (mut f64) (f64.const 0))
            (func $id (param f64) (result f64) (local.get 0))
            (func (export \"run\") (param $boxed f64) (param $zero f64) (result {result}) (local $x f64) {body}))"
    )
}

#[test]
fn what_arithmetic_made_is_canonical_where_it_is_seen() {
    let nan = "(f64.div (local.get $zero) (local.get $zero))";
    let bits = |value: &str| format!("(i64.reinterpret_f64 {value})");
    let seen = [
        bits(nan),
        bits(&format!("(f64.abs {nan})")),
        format!("(f64.store (i32.const 0) {nan}) (i64.load (i32.const 0))"),
        format!("(global.set $g {nan}) {}", bits("(global.get $g)")),
        bits(&format!("(call $id {nan})")),
        bits(&format!("(block (result f64) {nan})")),
        bits(&format!("(select {nan} (local.get $boxed) (i32.const 1))")),
        format!("(local.set $x {nan}) {}", bits("(local.get $x)")),
        format!("(local.set $x (local.get $boxed)) (local.set $x {nan}) {}", bits("(local.get $x)")),
        bits(&format!("(f64.copysign {nan} (f64.const 1))")),
        bits("(f64.add (local.get $boxed) (f64.const 1))"),
        bits("(f64.promote_f32 (f32.demote_f64 (local.get $boxed)))"),
        bits("(f64.sqrt (f64.const -1))"),
        bits("(f64x2.extract_lane 1 (f64x2.add (f64x2.splat (local.get $boxed)) (f64x2.splat (local.get $boxed))))"),
        bits(&format!("(f64.copysign (f64.const nan) {nan})")),
    ];
    let arguments = [Val::F64(BOXED), Val::F64(0)];
    for body in seen {
        assert_eq!(run(&of_floats(&body, "i64"), &arguments), [Value::I64(CANONICAL as i64)], "{body}");
    }
    // The sign of a negated NaN is not arithmetic's: it is that of the canonical one, turned.
    let negated = bits(&format!("(f64.neg {nan})"));
    assert_eq!(run(&of_floats(&negated, "i64"), &arguments), [Value::I64((CANONICAL | 1 << 63) as i64)]);
    assert_eq!(run(&of_floats(nan, "f64"), &arguments), [Value::F64(CANONICAL)]);
}

#[test]
fn what_arithmetic_did_not_make_keeps_its_bits() {
    let boxed = "(local.get $boxed)";
    let nan = "(f64.div (local.get $zero) (local.get $zero))";
    let kept = [
        boxed.to_string(),
        format!(
            "(f64.store (i32.const 8) {boxed}) (f64.store (i32.const 0) (f64.load (i32.const 8))) (f64.load (i32.const 0))"
        ),
        format!("(global.set $g {boxed}) (global.get $g)"),
        format!("(call $id {boxed})"),
        format!("(local.set $x {boxed}) (local.get $x)"),
        format!("(local.set $x {nan}) (local.set $x {boxed}) (local.get $x)"),
        format!("(select {boxed} {nan} (i32.const 1))"),
        format!("(local.set $x {nan}) (select {boxed} (local.get $x) (i32.const 1))"),
        format!("(block (result f64) (drop (br_if 0 {boxed} (i32.const 1))) {nan})"),
        format!("(if (result f64) (i32.const 1) (then {boxed}) (else {nan}))"),
        format!("(f64.neg (f64.neg {boxed}))"),
        format!("(f64.copysign {boxed} (f64.const -1))"),
        "(f64.const -nan:0xcdeadbeef0001)".to_string(),
        format!("(f64x2.extract_lane 0 (f64x2.splat {boxed}))"),
        format!("(f64x2.extract_lane 0 (f64x2.pmin (f64x2.splat {boxed}) (f64x2.splat (f64.const 1))))"),
    ];
    for body in kept {
        let results = run(&of_floats(&body, "f64"), &[Val::F64(BOXED), Val::F64(0)]);
        assert_eq!(results, [Value::F64(BOXED)], "{body}");
    }
}

/// The point of the rule: a chain of arithmetic is made canonical once, at its end.
#[test]
fn a_chain_of_arithmetic_costs_one_canonicalization() {
    let chain =
        "(f64.mul (f64.add (local.get $boxed) (local.get $zero)) (f64.sqrt (f64.sub (local.get $zero) (f64.const 1))))";
    let selects = |body: &str| {
        let bytes = rewritten(&wat::parse_str(of_floats(body, "f64")).expect("text"));
        let text = wasmparser::Parser::new(0).parse_all(&bytes).filter_map(|payload| match payload {
            Ok(wasmparser::Payload::CodeSectionEntry(body)) => body.get_operators_reader().ok(),
            _ => None,
        });
        text.flatten().filter(|operator| matches!(operator, Ok(wasmparser::Operator::Select))).count()
    };
    assert_eq!(selects(chain), 1);
    assert_eq!(
        selects(&format!(
            "(local.set $x {chain}) (local.set $x (f64.add (local.get $x) (local.get $x))) (local.get $x)"
        )),
        1
    );
    assert_eq!(selects(&format!("(local.set $x (f64.const 0)) (local.set $x {chain}) (local.get $x)")), 1);
    assert_eq!(selects(&format!("(drop {chain}) (local.get $boxed)")), 0);
    assert_eq!(selects(&format!("(drop (f64.lt {chain} (f64.const 1))) (local.get $boxed)")), 0);
    assert_eq!(selects("(f64.store (i32.const 0) (f64.load (i32.const 8))) (local.get $boxed)"), 0);
}
