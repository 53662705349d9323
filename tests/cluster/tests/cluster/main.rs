//! Several nodes, each a process: how players find their match, what happens to it when nodes come and go, and who is
//! kept out.

mod change;
mod entry;
mod games;
mod leaving;
mod network;
mod player;
mod refusals;
mod resolve;
