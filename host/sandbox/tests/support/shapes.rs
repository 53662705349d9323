//! Ways not to come back, as text: loops and calls of every shape. They need [`ITEMS`] in their module, its table's
//! entries 0 and 1 to be functions without parameters, and [`LOCALS`] in their function.

/// What shapes call and count in.
pub const ITEMS: &str = "
    (type $plain (func)) (type $unary (func (param i32) (result i32)))
    (global $g (mut i32) (i32.const 0))
    (func $leaf)
    (func $counted (local $i i32)
        (loop $l
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 3)))))";

/// What shapes compute with.
pub const LOCALS: &str = "(local $i i32) (local $j i32) (local $f f64) (local $v v128)";

/// Loops for ever around `content`, in every form that a loop can have.
pub fn loops(content: &str) -> Vec<String> {
    let inner = |content: &str| format!("(loop $l {content} (br $l))");
    vec![
        inner(content),
        format!("(loop $l {content} (br_if $l (i32.const 1)))"),
        format!("(loop $l {content} (br_if $l (i32.eqz (local.get $j))))"),
        format!("(loop $l {content} (br_table $l $l $l (local.get $i)))"),
        format!("(block $out (loop $l {content} (br_table $out $l (i32.const 7)))) "),
        format!("(loop $l (if (i32.eqz (local.get $j)) (then {content} (br $l))))"),
        format!("(loop $l (if (local.get $j) (then) (else {content} (br $l))))"),
        format!("(if (i32.eqz (local.get $j)) (then {}) (else (nop)))", inner(content)),
        format!("(i32.const 5) (loop $l (param i32) (result i32) {content} (br $l)) drop"),
        format!("(i32.const 5) (loop $l (param i32) {content} (i32.const 1) (i32.add) (br $l))"),
        format!("(f64.const 5) (i64.const 2) (loop $l (param f64 i64) (result i64) {content} (br $l)) drop"),
        format!("(loop $l (result i32) {content} (br $l)) drop"),
        format!("(loop $l {content} (br_if $l (local.get $i)) (br $l))"),
        format!("(loop $out (loop $l {content} (br $out)))"),
        format!("(loop $out (loop $l {content} (br_if $out (local.get $j)) (br $l)))"),
        format!("(loop $out (loop $l {content} (br_if $l (local.get $j))) (br $out))"),
        format!("(loop $a (loop $b (loop $c (loop $d {content} (br_table $a $b $c $d (local.get $i))))))"),
        format!("(loop $a (loop $b (loop $c {content}) (br $b)))"),
        format!("(block $x (block $y (loop $l {content} (block $z (br_if $z (local.get $i)) (br $l)) (br $l))))"),
        format!("(loop (loop (loop (loop))) {})", inner(content)),
        format!("(loop $l (i32.const 3) (i32.const 4) (block (param i32 i32) drop drop {content}) (br $l))"),
    ]
}

/// What may be in a loop.
pub const CONTENTS: &[&str] = &[
    "",
    "(nop)",
    "(local.set $i (i32.add (local.get $i) (i32.const 1)))",
    "(drop (i32.load (i32.const 0)))",
    "(drop (i32.load8_u (i32.const 0)))",
    "(local.set $i (i32.load (i32.and (local.get $i) (i32.const 0xfffc))))",
    "(drop (i32.load (i32.const 64))) (drop (i32.load (i32.const 64))) (drop (f64.load (i32.const 64)))",
    "(local.set $f (f64.mul (f64.add (local.get $f) (f64.const 1)) (f64.load (i32.const 8))))",
    "(i32.store (i32.const 16) (local.get $i))",
    "(i32.store8 (i32.const 0) (i32.load8_u (i32.const 1)))",
    "(call $leaf)",
    "(call $counted)",
    "(call_indirect (type $plain) (i32.const 0))",
    "(call_indirect (type $plain) (i32.const 1))",
    "(global.set $g (i32.add (global.get $g) (i32.const 1)))",
    "(memory.copy (i32.const 0) (i32.const 4096) (i32.const 64))",
    "(memory.fill (i32.const 0) (i32.const 1) (i32.const 100000))",
    "(drop (memory.grow (i32.const 0)))",
    "(drop (memory.size))",
    "(local.set $v (f32x4.add (local.get $v) (v128.load (i32.const 0))))",
    "(if (local.get $j) (then (local.set $i (i32.const 1))) (else (local.set $i (i32.const 2))))",
    "(local.set $i (select (local.get $i) (local.get $j) (i32.load (i32.const 4))))",
    "(local.set $i (i32.const 0)) (loop $n (br_if $n (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 9))))",
];

/// Calls that never return, or when the universe is old: functions, and the call. The table's entry 2 is free for them.
pub const CALLS: &[(&str, &str)] = &[
    ("(func $f (return_call $f))", "(call $f)"),
    ("(func $f (return_call $h)) (func $h (return_call $f))", "(return_call $f)"),
    ("(elem (i32.const 2) $f) (func $f (return_call_indirect (type $plain) (i32.const 2)))", "(call $f)"),
    (
        "(func $f (param f64 i32) (result f64) (return_call $f (local.get 0) (local.get 1)))",
        "(drop (call $f (f64.const 1) (i32.const 2)))",
    ),
    // Trees of calls, as deep as a number has bits.
    (
        "(func $f (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
                (else (i32.add
                    (call $f (i32.sub (local.get 0) (i32.const 1)))
                    (call $f (i32.sub (local.get 0) (i32.const 1)))))))",
        "(drop (call $f (i32.const 90)))",
    ),
    (
        "(func $f (param i32) (if (local.get 0) (then
            (call $h (i32.sub (local.get 0) (i32.const 1))) (call $h (i32.sub (local.get 0) (i32.const 1))))))
         (func $h (param i32) (if (local.get 0) (then
            (call $f (i32.sub (local.get 0) (i32.const 1))) (call $f (i32.sub (local.get 0) (i32.const 1))))))",
        "(call $f (i32.const 90))",
    ),
    (
        "(elem (i32.const 2) $f)
         (func $f (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
                (else (i32.add
                    (call_indirect (type $unary) (i32.sub (local.get 0) (i32.const 1)) (i32.const 2))
                    (call_indirect (type $unary) (i32.sub (local.get 0) (i32.const 1)) (i32.const 2))))))",
        "(drop (call_indirect (type $unary) (i32.const 90) (i32.const 2)))",
    ),
    // The loop is in the caller, the callee does nothing.
    ("", "(loop $l (call $leaf) (br $l))"),
];
