//! What a running call may touch: the host's half of the state, what the call has put out so far, and its quotas.
//! Outputs are staged here and reach the state only when the call has returned.

use bytes::Bytes;
use wasmtime::{Memory, ResourceLimiter};

use ringside_core::ids::Slot;
use ringside_core::limits;
use ringside_core::log::SkipCause;
use ringside_core::output::LogLevel;

use crate::host_state::HostState;

/// A guest's fault in a host call: ends the call.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct GuestFault {
    pub(crate) cause: SkipCause,
    pub(crate) message: String,
}

impl GuestFault {
    pub(crate) fn contract(message: impl Into<String>) -> Self {
        GuestFault { cause: SkipCause::Contract, message: message.into() }
    }

    pub(crate) fn quota(message: impl Into<String>) -> Self {
        GuestFault { cause: SkipCause::OutputQuota, message: message.into() }
    }
}

/// Which host functions a call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// A session's entry: all.
    All,
    /// `describe`: `log`.
    Log,
    /// `query`: `log`, `now` and `random`.
    Read,
}

/// A range of the staging arena.
pub(crate) type Range = std::ops::Range<usize>;

/// An output of the call that runs; its bytes lie in the arena.
#[derive(Debug, Clone)]
pub(crate) enum Staged {
    Send { slot: Slot, body: Range },
    Broadcast { body: Range },
    Datagram { slot: Slot, body: Range },
    View { slot: Slot, view: Range },
    ViewAll { view: Range },
    Stats { row: Range },
    Event { body: Range },
    Log { level: LogLevel, line: Range },
    Signal { session: Range, body: Range },
    Kick { slot: Slot, reason: Range },
    Finish { outcome: Range },
}

/// The data of an instance's store.
pub(crate) struct Context {
    pub(crate) host: HostState,
    pub(crate) allowed: Allowed,
    pub(crate) memory: Option<Memory>,
    pub(crate) staged: Vec<Staged>,
    pub(crate) arena: Vec<u8>,
    log_lines: usize,
    /// Outputs of the call, one for each player that it reaches.
    outputs: usize,
    /// Bytes that the call's broadcasts and views for all come to, counted for each player.
    fan_out_bytes: usize,
    /// Log lines that were dropped at the quota, over the instance's life.
    pub(crate) dropped_log_lines: u64,
    guest_memory_bytes: usize,
}

impl Context {
    pub(crate) fn new(host: HostState, allowed: Allowed, guest_memory_bytes: usize) -> Self {
        Context {
            host,
            allowed,
            memory: None,
            staged: Vec::new(),
            arena: Vec::new(),
            log_lines: 0,
            outputs: 0,
            fan_out_bytes: 0,
            dropped_log_lines: 0,
            guest_memory_bytes: guest_memory_bytes.min(limits::GUEST_MEMORY_BYTES),
        }
    }

    /// Forgets what an earlier call staged.
    pub(crate) fn begin_call(&mut self) {
        self.staged.clear();
        self.arena.clear();
        self.log_lines = 0;
        self.outputs = 0;
        self.fan_out_bytes = 0;
    }

    pub(crate) fn bytes(&self, range: &Range) -> &[u8] {
        self.arena.get(range.clone()).unwrap_or_default()
    }

    pub(crate) fn owned(&self, range: &Range) -> Bytes {
        Bytes::copy_from_slice(self.bytes(range))
    }

    /// UTF-8 was checked when the range was staged.
    pub(crate) fn text(&self, range: &Range) -> String {
        String::from_utf8_lossy(self.bytes(range)).into_owned()
    }

    /// Copies bytes into the arena, within the call's quota.
    pub(crate) fn stage(&mut self, bytes: &[u8]) -> Result<Range, GuestFault> {
        let start = self.arena.len();
        if start + bytes.len() > limits::CALL_OUTPUT_BYTES {
            return Err(GuestFault::quota(format!("the call puts out more than {} bytes", limits::CALL_OUTPUT_BYTES)));
        }
        self.arena.extend_from_slice(bytes);
        Ok(start..self.arena.len())
    }

    pub(crate) fn push(&mut self, staged: Staged) -> Result<(), GuestFault> {
        if let Staged::Broadcast { body: bytes } | Staged::ViewAll { view: bytes } = &staged {
            let players = self.host.joined().count();
            self.outputs += players.saturating_sub(1);
            self.fan_out_bytes += players * bytes.len();
        }
        self.outputs += 1;
        if self.outputs > limits::CALL_OUTPUTS {
            return Err(GuestFault::quota(format!("the call has more than {} outputs", limits::CALL_OUTPUTS)));
        }
        if self.fan_out_bytes > limits::CALL_FAN_OUT_BYTES {
            let most = limits::CALL_FAN_OUT_BYTES;
            return Err(GuestFault::quota(format!(
                "what the call puts out to all players comes to more than {most} bytes"
            )));
        }
        self.staged.push(staged);
        Ok(())
    }

    /// Whether another log line fits the call's quota; one that does not is counted.
    pub(crate) fn may_log(&mut self) -> bool {
        self.log_lines += 1;
        let fits = self.log_lines <= limits::LOG_LINES;
        self.dropped_log_lines += u64::from(!fits);
        fits
    }
}

impl ResourceLimiter for Context {
    fn memory_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.guest_memory_bytes && maximum.is_none_or(|most| desired <= most))
    }

    /// Only the limits above may answer −1: a refusal by the operating system would differ between machines.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= limits::TABLE_ELEMENTS as usize)
    }
}
