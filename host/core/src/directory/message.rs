//! What directories say to each other. Every message may be lost, doubled, late or out of order: each is repeated by
//! its sender until it is answered, and changes nothing the second time.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::types::{Find, GameFacts, ListKey, Open, Placed, Refusal};
use crate::ids::{Epoch, GameName, Incarnation, Node, PlayerId, SessionId, SessionKey, WorkerId};
use crate::leadership::record::{Member, Terms};
use crate::leadership::{Claim, message as leadership};
use crate::placement::{Decision, Policy};
use crate::ring::{Position, RingDigest};

/// A message between two nodes' directories. Whom it is from is the link's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A request to a home.
    Ask {
        /// The asker's number for it.
        number: u64,
        /// The ring by which the asker found the home.
        ring: RingDigest,
        /// What is wanted.
        want: Box<Want>,
    },
    /// A home's answer.
    Answer {
        /// To which request.
        number: u64,
        /// What became of it.
        answer: Result<Box<Placed>, Denial>,
    },
    /// A home's order to lead a new session.
    Host {
        /// The ring by which the home is one.
        ring: RingDigest,
        /// The session, to be begun as [`Birth::session_at`] says.
        birth: Box<Birth>,
        /// Why it goes there.
        decision: Box<Decision>,
    },
    /// What became of such an order.
    Hosted {
        /// Which session.
        session: SessionId,
        /// The session that this node leads under that key, or why it leads none.
        answer: Result<Box<Lead>, NotHosted>,
    },
    /// A home's wish to be told of all sessions that are its to keep.
    Sync {
        /// The ring by which it is a home.
        ring: RingDigest,
        /// Counts its rings: what is said for an earlier term means nothing any more.
        term: u64,
    },
    /// A part of a leader's announcement to a home. Parts are taken in order, one at a time.
    Announce {
        /// The term that it answers.
        term: u64,
        /// Counts the leader's announcements: within a term it begins anew where its own ring changed and changed
        /// back, or where too much was untold.
        run: u64,
        /// Counts the parts from 1.
        serial: u64,
        /// The sessions.
        items: Vec<Item>,
        /// Whether with this part everything is told.
        is_complete: bool,
    },
    /// A home has a part of an announcement.
    Acknowledge {
        /// Of which term.
        term: u64,
        /// Of which run.
        run: u64,
        /// Which part.
        serial: u64,
    },
    /// A home's question before it creates: who leads a session with one of these names?
    Question {
        /// The home's number for it.
        number: u64,
        /// The ring by which it is a home.
        ring: RingDigest,
        /// The names.
        names: Vec<Name>,
    },
    /// The answer to a question.
    Told {
        /// To which.
        number: u64,
        /// The ring of the node that answers: if it is another, the answer means nothing.
        ring: RingDigest,
        /// The sessions that it leads, or knew of as their home before; without their listings, which only announcements
        /// tell.
        known: Vec<Lead>,
    },
    /// A home's verdict on one of several sessions of a key: another goes on.
    Superseded {
        /// The session that ends.
        session: SessionId,
        /// What the other one says for itself.
        winner: Claim,
    },
    /// A leader's wish that a node follow one of its sessions.
    Follow {
        /// What the node must know, should it come to lead.
        charter: Box<Charter>,
        /// Who leads it.
        leader: Member,
        /// How old the session is, µs.
        age_us: u64,
    },
    /// The answer; and what a node that follows a session says now and then, to its leader or, where that is gone, to
    /// its home.
    Follows {
        /// Which session.
        session: SessionId,
        /// The worker that follows it, or why none does.
        answer: Result<WorkerId, NotFollowed>,
    },
    /// The session is over, or its leader wants it followed by others: a node need not follow it any longer.
    Unfollow {
        /// Which session.
        session: SessionId,
    },
    /// Who leads a session that a node follows.
    LedBy {
        /// Which session.
        session: SessionId,
        /// Who leads it.
        leader: Member,
    },
    /// A leader or follower says something to the home of its session.
    ToHome {
        /// Which session.
        session: SessionId,
        /// Who.
        from: Member,
        /// What.
        message: Box<leadership::Message>,
    },
    /// What the home says to that.
    FromHome {
        /// Of which session.
        session: SessionId,
        /// To whom.
        to: Member,
        /// What.
        message: Box<leadership::Message>,
    },
}

/// A session's name within the cluster: what its home is found by.
pub type Name = (GameName, SessionKey);

/// The name of a session.
pub(super) fn name_of(session: &SessionId) -> Name {
    (session.game.clone(), session.key.clone())
}

/// What is asked of a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// The session with a key.
    Open(Open),
    /// A session with a key, to be created unless it is there.
    Create {
        /// What it is to be.
        birth: Birth,
        /// Whether the key was drawn: then a session that is there is another one.
        is_drawn: bool,
    },
    /// Any session that fits.
    Find(Find),
}

impl Want {
    /// Whose it is.
    pub fn position(&self) -> Position {
        match self {
            Want::Open(open) => Position::of_key(&open.game, &open.key),
            Want::Create { birth, .. } => Position::of_key(&birth.session.game, &birth.session.key),
            Want::Find(find) => Position::of_list(&find.game, &find.criteria),
        }
    }

    /// The session that is wanted, unless any is.
    pub(super) fn name(&self) -> Option<Name> {
        match self {
            Want::Open(open) => Some((open.game.clone(), open.key.clone())),
            Want::Create { birth, .. } => Some(name_of(&birth.session)),
            Want::Find(_) => None,
        }
    }

    /// Of which game.
    pub fn game(&self) -> &GameName {
        match self {
            Want::Open(open) => &open.game,
            Want::Create { birth, .. } => &birth.session.game,
            Want::Find(find) => &find.game,
        }
    }
}

/// A session that is to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// Its id, but for the incarnation, which is the caller's draw: see [`Birth::session_at`].
    pub session: SessionId,
    /// What the guest's `start` gets.
    pub config: Bytes,
    /// Whether its log is recorded.
    pub record: bool,
    /// The criteria under which find-or-create may fill it.
    pub listed: Option<String>,
    /// Whether it ends when nobody is in it: nobody else knows of it.
    pub ends_when_empty: bool,
    /// How its node is chosen.
    pub policy: Policy,
    /// What may be in the store of it.
    pub origin: Origin,
}

/// What may be in the store of a session that is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Nothing: its key was drawn just now.
    Drawn,
    /// One of its key may have been evicted: then that one goes on.
    Named,
    /// It is wanted only if one was.
    Evicted,
}

impl Birth {
    /// The session's id if this node leads it. The leader enters, so that two homes which both place a session for one
    /// request (in a cluster that is cut in two) never make two sessions of one id.
    pub fn session_at(&self, leader: Node) -> SessionId {
        let mix = |hash: u64, part: u64| {
            let mixed = hash.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ part;
            let mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        let Incarnation(drawn) = self.session.incarnation;
        let mixed = mix(mix(drawn, leader.id.0), leader.generation);
        SessionId { incarnation: Incarnation(mixed ^ mixed >> 32), ..self.session.clone() }
    }

    /// Whether what somebody leads was begun for this.
    pub fn is(&self, lead: &Lead) -> bool {
        self.session_at(lead.leader) == lead.session
    }
}

/// Why a home gives no session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Denial {
    /// It will not.
    Refused(Refusal),
    /// The two nodes have different rings: look again and ask anew.
    OtherRing(RingDigest),
    /// The home has just come and may not know every game yet: ask again.
    NotReady,
}

/// Why a node leads no session that it was ordered to lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotHosted {
    /// The two nodes have different rings: it is asked again.
    OtherRing(RingDigest),
    /// It has no room: another node may.
    NoRoom(Refusal),
    /// The session does not work: another node need not try.
    Failed(Refusal),
    /// It was led here and has ended.
    Ended,
}

/// Why a node does not follow a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotFollowed {
    /// It has no room, or no worker that takes sessions.
    NoRoom,
    /// It has not got the module yet, or its worker has too much to do: it may be asked again soon.
    NotYet,
}

/// What does not change while a session lives, whoever leads it: what a node must know that comes to lead it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charter {
    /// Which session.
    pub session: SessionId,
    /// Its game when it began.
    pub facts: GameFacts,
    /// What it was created with.
    pub config: ConfigHash,
    /// Whether its log is recorded.
    pub record: bool,
    /// The criteria under which find-or-create may fill it.
    pub listed: Option<String>,
    /// Whether it ends when nobody is in it.
    pub ends_when_empty: bool,
    /// Why it was begun where it was.
    pub decision: Box<Decision>,
}

impl Charter {
    /// Of a session that is to begin.
    pub(super) fn new(birth: &Birth, facts: GameFacts, decision: Box<Decision>) -> Charter {
        Charter {
            session: birth.session.clone(),
            facts,
            config: hash_config(&birth.config),
            record: birth.record,
            listed: birth.listed.clone(),
            ends_when_empty: birth.ends_when_empty,
            decision,
        }
    }

    /// Of a session of which nothing else is known any more.
    pub(super) fn recovered(session: SessionId, facts: GameFacts, decision: Box<Decision>) -> Charter {
        Charter {
            session,
            facts,
            config: hash_config(&[]),
            record: false,
            listed: None,
            ends_when_empty: false,
            decision,
        }
    }

    /// As logs of nodes and states of evicted sessions have it, for as long as there is a store: what it says may only become more by
    /// a later format of those.
    pub fn encode(&self) -> Bytes {
        // Plain data into memory always serializes.
        postcard::to_stdvec(self).unwrap_or_default().into()
    }

    /// What was encoded so.
    ///
    /// # Errors
    /// It is damaged, or of another release.
    pub fn decode(bytes: &[u8]) -> Result<Charter, postcard::Error> {
        postcard::from_bytes(bytes)
    }

    /// What it promises.
    pub fn terms(&self) -> Terms {
        self.facts.replicas.terms(self.session.clone(), self.record)
    }

    /// The list that it is on.
    pub(super) fn list(&self) -> Option<ListKey> {
        let criteria = self.listed.clone()?;
        Some(ListKey { game: self.session.game.clone(), criteria })
    }
}

/// A name for a configuration: sessions that were created with equal ones have equal names.
pub type ConfigHash = [u8; 16];

/// The name of a configuration.
pub(super) fn hash_config(config: &[u8]) -> ConfigHash {
    let mut leading = [0; 16];
    leading.copy_from_slice(&blake3::hash(config).as_bytes()[..16]);
    leading
}

/// What a leader says of a session that it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lead {
    /// Which.
    pub session: SessionId,
    /// Who leads it.
    pub leader: Node,
    /// On which worker.
    pub worker: WorkerId,
    /// Since when.
    pub epoch: Epoch,
    /// Player inputs accepted, as far as they count in a settlement.
    pub inputs: u64,
    /// What it was created with.
    pub config: ConfigHash,
    /// Whether it runs; else it is about to.
    pub is_live: bool,
    /// How find-or-create may fill it.
    pub listing: Option<Seating>,
}

impl Message {
    /// Names one node as a leader where it names another.
    pub(super) fn name_instead(&mut self, of: Node, instead: Node) {
        match self {
            Message::Answer { answer: Ok(placed), .. } if placed.leader == of => placed.leader = instead,
            Message::Told { known, .. } => {
                known.iter_mut().filter(|lead| lead.leader == of).for_each(|lead| lead.leader = instead);
            }
            _ => {}
        }
    }
}

impl Lead {
    /// What it says for itself where there are two of a key.
    pub fn claim(&self) -> Claim {
        Claim { session: self.session.clone(), epoch: self.epoch, inputs: self.inputs }
    }
}

/// The seats of a session on a list, as its leader knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seating {
    /// Which list.
    pub criteria: String,
    /// Seats in all.
    pub seats: u32,
    /// Who sits.
    pub joined: Vec<PlayerId>,
    /// Whether further players may be sent.
    pub entry: Entry,
}

/// Whether further players may be sent to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// While seats are free.
    Open,
    /// Only those for whom a seat is kept.
    Closed,
    /// Nobody: the game itself turned somebody away.
    Refuses,
}

/// One item of an announcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A session that is led here.
    Led(Box<Lead>),
    /// One that was, and has ended.
    Ended(SessionId),
    /// One that was, and is not any more, and has not ended: it is in the store until somebody asks for it, or led elsewhere.
    Evicted(SessionId),
}

impl Item {
    /// The most bytes that it takes in a message, or a little more: numbers at their longest.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Item::Led(lead) => {
                let listing = lead.listing.as_ref().map_or(0, |listing| {
                    let joined = listing.joined.iter().map(|player| player.as_str().len() + 2);
                    listing.criteria.len() + joined.sum::<usize>() + 16
                });
                name_bytes(&lead.session) + size_of::<Lead>() + listing
            }
            Item::Ended(session) | Item::Evicted(session) => name_bytes(session),
        }
    }
}

fn name_bytes(session: &SessionId) -> usize {
    // Two lengths, the incarnation, the kind of the item.
    session.game.as_str().len() + session.key.as_str().len() + 16
}
