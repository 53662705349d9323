//! Scenarios: what two or more parts promise together, in one process and in virtual time. What one part promises
//! alone is tested beside it; what real processes do over sockets is in `tests/cluster`.

#[cfg(test)]
mod limits;
#[cfg(test)]
mod tidy;
