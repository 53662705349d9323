//! A session is its log: the same log gives the same states, outputs and views, whoever folds it (natively or as
//! WebAssembly, at once or in pieces, in this process or in another one) and from wherever it is restored.

mod every_position;
mod golden;
mod leader;
mod native;
mod random_inputs;
mod recordings;
mod samples;
mod scripts;
mod ten_minutes;
