//! What a client knows of its seat and keeps across connections: both numberings, what is not retired, the branch,
//! the greatest epoch, the resume token.

use bytes::Bytes;
use ringside_protocol::channel::{Arrival, ChannelError, Inbox, Outbox};
use ringside_protocol::frame::{Attached, Opaque, Resume, Rewound, Seat as SeatKind};
use ringside_protocol::ids::{Branch, Epoch, SessionId};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_protocol::tier::Tier;

/// Messages both ways. Exists before the first attachment, when only `outbox` has content.
#[derive(Debug)]
pub(super) struct Seat {
    pub outbox: Outbox,
    inbox: Inbox,
    /// The last message that the application has taken: what is acknowledged, and where a return goes on.
    delivered: u64,
    /// The last delivered message that the server was told of.
    pub told: u64,
    /// The last message that the session said it has, at any tier.
    acknowledged: u64,
    /// The last message that the application was told had no effect.
    rejected: u64,
    /// The last number of a datagram.
    pub datagram: u64,
    /// The tick of the newest view that was shown.
    shown_tick: u64,
    /// The newest tick that a view called committed.
    committed_tick: u64,
    renumbered: Option<Renumbered>,
    pub held: Option<Held>,
}

/// What an attachment tells.
#[derive(Debug)]
pub(super) struct Held {
    pub session: SessionId,
    /// Which of the player's stays in the session.
    joined: u64,
    /// The session has said that this stay is over: the next attachment begins anew.
    is_over: bool,
    pub branch: Branch,
    pub epoch: Epoch,
    pub tier: Tier,
    pub resume_token: Opaque,
}

/// What an accepted attachment means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// Messages flow, after this many were given up with a lost seat.
    Flowing { lost: usize },
    /// `Rewound` has to come first.
    AwaitRewound(Reached),
}

/// Where a branch is that a client comes back to: further than what it shares with the one that the client was on, where the
/// client was on it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// The last message of this client that was applied.
    pub input: u64,
    /// The last message to this client that will not come again.
    pub output: u64,
}

/// Messages were lost with a branch, and those that were kept got their numbers.
#[derive(Debug, Clone, Copy)]
struct Renumbered {
    /// How many were lost.
    by: u64,
    /// The last number then.
    last: u64,
}

impl Seat {
    pub fn new() -> Self {
        Seat {
            outbox: Outbox::new(limits::CLIENT_UNRETIRED_MESSAGES, limits::CLIENT_UNRETIRED_BYTES),
            inbox: Inbox::default(),
            delivered: 0,
            told: 0,
            acknowledged: 0,
            rejected: 0,
            datagram: 0,
            shown_tick: 0,
            committed_tick: 0,
            renumbered: None,
            held: None,
        }
    }

    /// What `open` says about what the client has.
    pub fn resume(&self) -> Option<Resume> {
        self.held.as_ref().filter(|held| !held.is_over).map(|held| Resume {
            token: held.resume_token.clone(),
            incarnation: held.session.incarnation,
            joined: held.joined,
            branch: held.branch,
            last_output: self.delivered,
        })
    }

    /// The server has refused the resume token, or it was shown: it is good no more.
    pub fn forget_resume_token(&mut self) {
        if let Some(held) = &mut self.held {
            held.resume_token = Opaque::default();
        }
    }

    /// The seat is lost: nothing goes on from where it was.
    pub fn forget_stay(&mut self) {
        if let Some(held) = &mut self.held {
            held.is_over = true;
        }
    }

    /// The stay is not over, as far as anybody knows who may say so.
    pub fn remember_stay(&mut self) {
        if let Some(held) = &mut self.held {
            held.is_over = false;
        }
    }

    /// Whether this client was in the session before, and in another stay than this.
    pub fn was_in_another_stay(&self, joined: u64) -> bool {
        self.held.as_ref().is_some_and(|held| held.joined != joined)
    }

    /// A connection is lost: what the application has not taken will come again.
    pub fn rewind_to_delivered(&mut self) -> u64 {
        self.inbox.rewind(self.delivered);
        self.delivered
    }

    /// Takes an attachment; `resumed_after` is what `open` said, if it resumed.
    ///
    /// # Errors
    /// The reason to give the connection up.
    pub fn attach(&mut self, attached: &Attached, resumed_after: Option<u64>) -> Result<Joined, Reason> {
        let held = Held {
            session: attached.session.clone(),
            joined: attached.joined,
            is_over: false,
            branch: attached.branch,
            epoch: attached.epoch,
            tier: attached.tier,
            resume_token: attached.resume_token.clone(),
        };
        let before = self.held.as_ref();
        if before.is_some_and(|before| before.session != held.session) {
            return Err(Reason::SessionEnded);
        }
        if before.is_some_and(|before| before.epoch > held.epoch) {
            return Err(Reason::NotHere);
        }
        let branch = before.map(|before| before.branch);
        let is_same_stay = before.is_some_and(|before| before.joined == held.joined);
        let joined = match (branch, resumed_after, attached.seat) {
            (Some(branch), Some(after), SeatKind::Kept) if is_same_stay => {
                self.return_to(attached, branch, after)?;
                if branch == attached.branch {
                    Joined::Flowing { lost: 0 }
                } else {
                    Joined::AwaitRewound(Reached { input: attached.last_input, output: attached.last_output })
                }
            }
            (Some(_), _, _) => Joined::Flowing { lost: self.begin_again(attached) },
            (None, _, _) => {
                self.outbox.renumber_after(attached.last_input);
                self.begin(attached);
                Joined::Flowing { lost: 0 }
            }
        };
        self.datagram = self.datagram.max(attached.last_datagram);
        self.held = Some(held);
        if matches!(joined, Joined::AwaitRewound(_))
            && let (Some(held), Some(branch)) = (&mut self.held, branch)
        {
            held.branch = branch;
        }
        Ok(joined)
    }

    fn return_to(&mut self, attached: &Attached, branch: Branch, after: u64) -> Result<(), Reason> {
        if branch != attached.branch {
            return Ok(());
        }
        let known = after..=self.inbox.last();
        let fits = known.contains(&attached.last_output) && self.outbox.can_resume_after(attached.last_input).is_ok();
        if !fits {
            return Err(Reason::ResumeImpossible);
        }
        self.acknowledged = self.acknowledged.max(attached.last_input);
        Ok(())
    }

    /// The seat was lost and another was given: nobody knows what became of the unretired messages.
    fn begin_again(&mut self, attached: &Attached) -> usize {
        let lost = self.outbox.len();
        let mut outbox = Seat::new().outbox;
        outbox.renumber_after(attached.last_input);
        self.outbox = outbox;
        self.begin(attached);
        lost
    }

    fn begin(&mut self, attached: &Attached) {
        self.inbox = Inbox::after(attached.last_output);
        self.delivered = attached.last_output;
        self.told = attached.last_output;
        self.acknowledged = attached.last_input;
        self.shown_tick = 0;
        self.committed_tick = 0;
        self.renumbered = None;
        self.rejected = attached.last_input;
        self.datagram = 0;
    }

    /// Looks at the number of a message to this client.
    pub fn arrive(&mut self, number: u64) -> Arrival {
        self.inbox.arrive(number)
    }

    /// The application has taken message `number`. Answers how many the server was not told of.
    pub fn deliver(&mut self, number: u64) -> u64 {
        self.delivered = self.delivered.max(number);
        self.untold()
    }

    /// Delivered messages that the server was not told of.
    pub fn untold(&self) -> u64 {
        self.delivered.saturating_sub(self.told)
    }

    /// What to tell the server, if there is news.
    pub fn tell(&mut self) -> Option<u64> {
        if self.untold() == 0 {
            return None;
        }
        self.told = self.delivered;
        Some(self.delivered)
    }

    /// Takes a message to send. What the session has at a lower tier than the game asked for is let go of first when
    /// room is short, so that a session without followers does not stop its players.
    ///
    /// # Errors
    /// [`ChannelError::Full`].
    pub fn push(&mut self, body: &Bytes) -> Result<u64, ChannelError> {
        loop {
            match self.outbox.push(body.clone()) {
                Err(full) if self.outbox.is_empty() || self.outbox.first() > self.acknowledged => return Err(full),
                Err(_) => {
                    self.outbox.acknowledge(self.outbox.first())?;
                }
                number => return number,
            }
        }
    }

    /// The session has everything up to `up_to`, as safe as `tier` says.
    ///
    /// # Errors
    /// [`ChannelError::NeverSent`].
    pub fn acknowledged(&mut self, up_to: u64, tier: Tier) -> Result<(), ChannelError> {
        if up_to > self.outbox.last() {
            return Err(ChannelError::NeverSent { number: up_to, last: self.outbox.last() });
        }
        self.acknowledged = self.acknowledged.max(up_to);
        if self.held.as_ref().is_some_and(|held| tier >= held.tier) {
            self.outbox.acknowledge(up_to)?;
        }
        Ok(())
    }

    /// Whether it is news that a message had no effect: the server says so again when the client comes back.
    ///
    /// # Errors
    /// [`ChannelError::NeverSent`].
    pub fn reject(&mut self, number: u64) -> Result<bool, ChannelError> {
        if number > self.outbox.last() {
            return Err(ChannelError::NeverSent { number, last: self.outbox.last() });
        }
        let is_news = number > self.rejected;
        self.rejected = self.rejected.max(number);
        Ok(is_news)
    }

    /// Messages that the session has not said that it has.
    pub fn unacknowledged(&self) -> usize {
        self.outbox.after(self.acknowledged).count()
    }

    /// Whether something that the application was shown, or was told of its messages, is withdrawn.
    pub fn feels(&self, rewound: &Rewound) -> bool {
        self.delivered > rewound.last_output
            || self.shown_tick > rewound.tick
            || self.acknowledged > rewound.last_input
            || self.rejected > rewound.last_input
            || self.outbox.first() > rewound.last_input.saturating_add(1)
    }

    /// Whether a message that came or a committed tick is withdrawn.
    pub fn was_promised_after(&self, rewound: &Rewound) -> bool {
        self.delivered > rewound.last_output || self.committed_tick > rewound.tick
    }

    /// The session goes on from an earlier point. Where this client was on the branch that goes on before it went over to the
    /// one that lost, that branch has more of it: what it acknowledged there does not come again, and what was applied there is
    /// not said again. Answers how many messages it has lost that are no longer kept here.
    pub fn rewound(&mut self, rewound: &Rewound, reached: Reached) -> u64 {
        let after = reached.output;
        if let Some(held) = &mut self.held {
            held.branch = rewound.branch;
        }
        self.inbox.rewind(rewound.last_output);
        self.inbox = Inbox::after(self.inbox.last().max(after));
        self.delivered = self.delivered.min(rewound.last_output).max(after);
        self.told = self.told.min(rewound.last_output).max(after);
        self.shown_tick = self.shown_tick.min(rewound.tick);
        self.committed_tick = self.committed_tick.min(rewound.tick);
        self.rejected = self.rejected.min(rewound.last_input);
        let kept_before = self.outbox.first() - 1;
        let input = reached.input.max(rewound.last_input);
        match self.renumbered.filter(|_| input > rewound.last_input) {
            // Numbers there are those from before.
            Some(Renumbered { by, last }) => {
                self.renumbered = None;
                let applied = last.min(input.saturating_sub(by)).max(rewound.last_input);
                let _ = self.outbox.acknowledge(applied.min(self.outbox.last()));
                self.outbox.renumber_after(input);
                self.acknowledged = input;
                kept_before.saturating_sub(applied)
            }
            None if input > self.outbox.last() => {
                // Another client of the player has said more there: what this one has said that is not there is said after that.
                self.renumbered = None;
                let _ = self.outbox.acknowledge(rewound.last_input.min(self.outbox.last()));
                self.outbox.renumber_after(input);
                self.acknowledged = input;
                kept_before.saturating_sub(rewound.last_input)
            }
            None => {
                let lost = kept_before.saturating_sub(input);
                if lost > 0 {
                    self.outbox.renumber_after(input);
                    self.renumbered = Some(Renumbered { by: lost, last: self.outbox.last() });
                }
                self.acknowledged = input.min(self.outbox.last());
                lost
            }
        }
    }

    /// Whether a view of `tick` may be shown: never one that is older than what was shown. What it says is committed counts
    /// in any case.
    pub fn show(&mut self, tick: u64, committed: u64) -> bool {
        self.committed_tick = self.committed_tick.max(committed);
        let newer = tick >= self.shown_tick;
        self.shown_tick = self.shown_tick.max(tick);
        newer
    }
}
