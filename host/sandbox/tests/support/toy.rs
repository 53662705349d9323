//! The toy: a game in text whose deeds are in its messages, with places where a test may bend it.

/// What it says of itself, as the canonical ABI writes it.
#[derive(Clone)]
pub struct Description {
    pub name: String,
    pub name_at: u32,
    pub name_length: Option<u32>,
    pub numbers: [u32; 5],
    pub enums: [u8; 3],
}

impl Default for Description {
    fn default() -> Self {
        Description {
            name: "toy".into(),
            name_at: 320,
            name_length: None,
            numbers: [20, 1, 8, 1000, 60],
            enums: [0, 0, 1],
        }
    }
}

/// Where a test may bend it.
#[derive(Clone, Default)]
pub struct Toy {
    pub description: Description,
    /// Runs before `describe` answers.
    pub describe: &'static str,
    /// Runs first in `cabi_realloc`; may return.
    pub realloc: &'static str,
    /// Runs in each tick.
    pub tick: &'static str,
    /// Functions and what else a module may have.
    pub items: String,
    /// Its memory's own maximum.
    pub most_pages: &'static str,
}

/// The deeds: letter and body. Locals: `$slot`, `$at`, `$length` (after the letter), `$n`, `$count`.
const ACTS: &[(char, &str)] = &[
    ('e', "(call $send (local.get $slot) (local.get $at) (local.get $length))"),
    ('v', "(call $set-view (local.get $slot) (local.get $at) (local.get $length))"),
    ('V', "(call $set-view-all (local.get $at) (local.get $length))"),
    ('b', "(call $broadcast (local.get $at) (local.get $length))"),
    ('d', "(call $send-datagram (local.get $slot) (local.get $at) (local.get $length))"),
    ('t', "(call $tell (local.get $slot) (call $set-timer (i64.load (local.get $at))))"),
    ('c', "(call $cancel-timer (i64.load (local.get $at)))"),
    ('r', "(call $tell (local.get $slot) (call $random))"),
    ('n', "(call $tell (local.get $slot) (call $now))"),
    ('s', "(call $set-stats (local.get $at) (local.get $length))"),
    ('E', "(call $emit (local.get $at) (local.get $length))"),
    (
        'l',
        "(call $log (i32.load8_u (local.get $at)) (i32.add (local.get $at) (i32.const 1))
           (i32.sub (local.get $length) (i32.const 1)))",
    ),
    (
        'k',
        "(call $kick (i32.load8_u (local.get $at)) (i32.add (local.get $at) (i32.const 1))
           (i32.sub (local.get $length) (i32.const 1)))",
    ),
    ('f', "(call $finish (local.get $at) (local.get $length))"),
    ('g', "(call $signal (i32.const 320) (i32.const 3) (local.get $at) (local.get $length))"),
    ('T', "unreachable"),
    ('L', "(call $run-away (i32.load8_u (local.get $at)))"),
    ('F', "(loop $l (call $send (local.get $slot) (i32.const 131072) (i32.const 60000)) (br $l))"),
    (
        'O',
        "(local.set $count (i32.load (local.get $at)))
         (loop $l
           (call $emit (i32.const 600) (i32.const 2))
           (br_if $l (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))",
    ),
    (
        'M',
        "(loop $l
           (local.set $n (memory.grow (i32.const 1)))
           (if (i32.ne (local.get $n) (i32.const -1))
             (then
               (i32.store (i32.shl (local.get $n) (i32.const 16)) (local.get $n))
               (local.set $count (i32.add (local.get $count) (i32.const 1)))
               (br $l))))
         (call $tell (local.get $slot) (i64.extend_i32_u (local.get $count)))",
    ),
    ('x', "(call $tell (local.get $slot) (i64.extend_i32_s (memory.grow (i32.load (local.get $at)))))"),
    ('R', "(drop (call $deep (i32.const 0)))"),
    ('p', "(call $raw (i32.load8_u (local.get $at)) (i32.add (local.get $at) (i32.const 1)))"),
    (
        'G',
        "(local.set $n (i32.load (local.get $at)))
         (global.set $hidden (i32.add (global.get $hidden) (local.get $n)))
         (global.set $shown (i64.add (global.get $shown) (i64.extend_i32_u (local.get $n))))
         (global.set $wide (i32x4.add (global.get $wide) (i32x4.splat (local.get $n))))
         (v128.store (i32.const 560) (global.get $wide))
         (call $send (local.get $slot) (i32.const 560) (i32.const 16))
         (call $tell (local.get $slot) (i64.add (global.get $shown) (i64.extend_i32_u (global.get $hidden))))",
    ),
    ('m', "(i32.store8 (i32.load (local.get $at)) (i32.load8_u offset=4 (local.get $at)))"),
    (
        'w',
        "(local.set $count (i32.load (local.get $at)))
         (if (local.get $count)
           (then (loop $l (br_if $l (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))))",
    ),
    ('D', "(drop (i32.div_u (i32.const 1) (global.get $flag)))"),
    ('I', "(drop (call_indirect (type $number) (i32.const 0) (i32.const 0)))"),
    ('o', "(drop (i32.load (i32.const 0x7fffffff)))"),
    ('q', "(global.set $flag (i32.load8_u (local.get $at)))"),
    ('B', "(global.set $bump (i32.load (local.get $at)))"),
];

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

impl Toy {
    /// The module's bytes.
    pub fn wasm(&self) -> Vec<u8> {
        let said = &self.description;
        let length = said.name_length.unwrap_or(said.name.len() as u32);
        let mut record: Vec<u8> = [said.name_at, length].iter().flat_map(|word| word.to_le_bytes()).collect();
        record.extend(said.numbers.iter().flat_map(|word| word.to_le_bytes()));
        record.extend(said.enums);
        let acts = ACTS.iter().map(|(letter, body)| {
            format!("(if (i32.eq (local.get $deed) (i32.const {})) (then {body} (return)))\n", *letter as u32)
        });
        let text = include_str!("toy.wat")
            .replace("@DESCRIPTION@", &escaped(&record))
            .replace("@NAME@", &escaped(said.name.as_bytes()))
            .replace("@REALLOC@", self.realloc)
            .replace("@DESCRIBE@", self.describe)
            .replace("@TICK@", self.tick)
            .replace("@ITEMS@", &self.items)
            .replace("@MOST-PAGES@", self.most_pages)
            .replace("@ACTS@", &acts.collect::<String>());
        wat::parse_str(text).expect("text that assembles")
    }
}
