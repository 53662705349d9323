//! The committed vectors: what every implementation of the contract must agree on, in any language.

#![allow(clippy::unwrap_used)]

use ringside_guest::{Context, Description, Game, Match, Refusal, Slot, encode, math};

/// Emits the first thousand random numbers.
struct Draws;

impl Game for Draws {
    type Config = ();
    type Input = ();
    type Output = ();
    type View = ();

    const DESCRIPTION: Description = Description::new("draws");

    fn start(_: (), context: &mut Context<Self>) -> Result<Self, Refusal> {
        let drawn: Vec<u64> = (0..1000).map(|_| context.random()).collect();
        context.emit(&drawn);
        Ok(Draws)
    }

    fn view(&self, _: Slot) {}
}

fn lines(vectors: &'static str) -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let lines = vectors.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(": ").unwrap()).map(|(key, values)| (key, values.split(' ').collect()))
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

#[test]
fn random_numbers_are_those_of_the_vectors() {
    let mut seeds = 0;
    for (seed, expected) in lines(include_str!("../../vectors/random.txt")) {
        let seed: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).unwrap()).collect();
        let mut game = Match::<Draws>::new(<[u8; 32]>::try_from(seed).unwrap());
        let ringside_guest::Effect::Event { body } = game.effects().remove(0) else { panic!("no event") };
        let drawn: Vec<u64> = ringside_guest::decode(&body).unwrap();
        let compared: Vec<u64> = drawn[..20].iter().chain(&drawn[999..]).copied().collect();
        assert_eq!(compared, expected.into_iter().map(hex).collect::<Vec<_>>());
        seeds += 1;
    }
    assert_eq!(seeds, 4);
}

#[test]
fn a_number_as_seed_is_its_bytes_and_zeros() {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&[7, 1]);
    assert_eq!(Match::<Draws>::new(263).effects(), Match::<Draws>::new(bytes).effects());
}

type Function = (&'static str, fn(f64, f64) -> f64);

const FUNCTIONS: [Function; 13] = [
    ("sqrt", |x, _| math::sqrt(x)),
    ("sin", |x, _| math::sin(x)),
    ("cos", |x, _| math::cos(x)),
    ("tan", |x, _| math::tan(x)),
    ("asin", |x, _| math::asin(x)),
    ("acos", |x, _| math::acos(x)),
    ("atan", |x, _| math::atan(x)),
    ("atan2", math::atan2),
    ("hypot", math::hypot),
    ("exp", |x, _| math::exp(x)),
    ("ln", |x, _| math::ln(x)),
    ("pow", math::pow),
    ("wrap_angle", |x, _| math::wrap_angle(x)),
];

/// Pairs of all kinds: small, large, subnormal, infinite, and a spread made without any generator's library.
fn pairs() -> Vec<(f64, f64)> {
    let special =
        [0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, -1e-310, 1e300, f64::INFINITY, std::f64::consts::PI, 2.0, 10.0, -7.25];
    let mut pairs: Vec<(f64, f64)> = special.iter().flat_map(|x| special.map(|y| (*x, y))).collect();
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    pairs.extend((0..2000).map(|_| ((next() - 0.5) * 20.0, (next() - 0.5) * 20.0)));
    pairs.extend((0..500).map(|_| ((next() - 0.5) * 1e9, (next() - 0.5) * 2.0)));
    pairs
}

/// FNV-1a over the bits of a function's results; NaNs count as one, since a host makes them one.
fn digest(function: fn(f64, f64) -> f64) -> u64 {
    let bits = |x: f64| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() };
    let results = pairs().into_iter().flat_map(|(x, y)| bits(function(x, y)).to_le_bytes());
    results.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[test]
fn mathematics_have_the_bits_of_the_vectors() {
    let expected: Vec<_> = lines(include_str!("../../vectors/math.txt")).collect();
    assert_eq!(expected.len(), FUNCTIONS.len());
    for ((name, function), (expected_name, digests)) in FUNCTIONS.into_iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert_eq!(format!("{:016x}", digest(function)), digests[0], "{name}");
    }
}

#[test]
fn mathematics_are_right_to_a_few_units_in_the_last_place() {
    let close =
        |ours: f64, platform: f64| ours == platform || (ours - platform).abs() <= platform.abs() * 1e-14 + 1e-300;
    for (x, y) in pairs().into_iter().skip(169) {
        assert!(close(math::sin(x), x.sin()) && close(math::cos(x), x.cos()) && close(math::tan(x), x.tan()), "{x}");
        assert!(close(math::atan2(y, x), y.atan2(x)) && close(math::hypot(x, y), x.hypot(y)), "{y} {x}");
        assert!(x < 0.0 || (close(math::ln(x), x.ln()) && math::sqrt(x) == x.sqrt()), "{x}");
        assert!(x.abs() > 1.0 || (close(math::asin(x), x.asin()) && close(math::acos(x), x.acos())), "{x}");
        assert!(
            x.abs() > 20.0 || (close(math::exp(x), x.exp()) && close(math::pow(x.abs(), y), x.abs().powf(y))),
            "{x}"
        );
        let wrapped = math::wrap_angle(x.rem_euclid(1e4));
        assert!(wrapped > -std::f64::consts::PI && wrapped <= std::f64::consts::PI, "{x}");
    }
}

#[test]
fn the_lesser_and_greater_of_two_are_defined_for_zeros_and_nans() {
    assert!(math::min(0.0, -0.0).is_sign_positive() && math::max(-0.0, 0.0).is_sign_negative());
    assert_eq!((math::min(2.0, 1.0), math::max(2.0, 1.0)), (1.0, 2.0));
    assert_eq!((math::min(1.0, f64::NAN), math::max(1.0, f64::NAN)), (1.0, 1.0));
}

#[test]
fn encodings_are_postcard() {
    assert_eq!(encode(&(300u32, -1i32, true, "ab")), [0xac, 0x02, 0x01, 0x01, 0x02, b'a', b'b']);
    assert_eq!(encode(&Some(1.5f32)), [0x01, 0x00, 0x00, 0xc0, 0x3f]);
}
