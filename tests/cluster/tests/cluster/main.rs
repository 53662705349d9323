//! Several nodes, each a process: how players find their match, what happens to it when nodes come and go, and who is
//! kept out.

mod away;
mod change;
mod clocks;
mod damage;
mod demo;
mod durable;
mod entry;
mod failover;
mod faults;
mod floods;
mod full;
mod games;
mod gossip;
mod handover;
mod idle;
mod kept;
mod leaving;
mod links;
mod moves;
mod network;
mod partitions;
mod placement;
mod player;
mod reach;
mod rebalance;
mod recordings;
mod refusals;
mod resets;
mod resolve;
mod sealed;
mod skew;
mod storms;
mod suspects;
mod twins;
mod upgrade;
