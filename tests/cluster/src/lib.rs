//! Real processes: the `ringside` program as people and machines use it, with real sockets, signals and files. What
//! can be shown in one process is shown in `tests/scenarios` or beside the code.

pub mod chaos;
