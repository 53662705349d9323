//! One node: its command line, its life and death, and what it refuses.

mod dev;
mod first_game;
mod journey;
mod life;
mod object_store;
mod players;
mod recordings;
mod refusals;
mod surroundings;
mod terminal;
