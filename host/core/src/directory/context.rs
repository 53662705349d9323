//! What the directory's parts share: the cluster as it is now, the alarms, and what is to be done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::message::{Message, Name, Want};
use super::types::{Action, GameFacts, ListKey, Placed, Refusal, RequestId};
use crate::ids::{GameName, Incarnation, Node, PlayerId, SessionId};
use crate::membership::View;
use crate::ring::{Member, Position, Ring, RingDigest, Weight, Zone};
use crate::timers::Timers;

/// How long an answer of another node is waited for before the question is repeated, µs.
pub const RESEND_US: u64 = 250_000;

/// The nodes, as far as the directory cares.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    pub ring: Arc<Ring>,
    /// All that are there, and so may lead sessions.
    pub present: BTreeSet<Node>,
}

impl Cluster {
    /// One node and nobody else.
    pub fn alone(me: Node) -> Cluster {
        let member = Member { node: me, stay: 0, weight: Weight::NORMAL, zone: Zone::default() };
        Cluster { ring: Arc::new(Ring::new([member])), present: BTreeSet::from([me]) }
    }

    pub fn of(view: &View) -> Cluster {
        Cluster { ring: view.ring().clone(), present: view.nodes().map(|seen| seen.node).collect() }
    }

    pub fn digest(&self) -> RingDigest {
        self.ring.digest()
    }

    /// Whose a position is.
    pub fn home(&self, position: Position) -> Option<Node> {
        self.ring.home(position).map(|member| member.node)
    }

    /// Whose a session is.
    pub fn home_of(&self, name: &Name) -> Option<Node> {
        self.home(Position::of_key(&name.0, &name.1))
    }

    /// Whose a list is.
    pub fn home_of_list(&self, list: &ListKey) -> Option<Node> {
        self.home(Position::of_list(&list.game, &list.criteria))
    }
}

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A worker was long in creating a session.
    Creation(Name, Incarnation),
    /// A seat was kept long enough.
    Reservation(ListKey, Name, PlayerId),
    /// A session was empty for long.
    Empty(Name),
    /// A session that was given up was not heard of to have ended.
    Ending(SessionId),
    /// A request was not answered.
    Door(u64),
    /// An order to lead was not answered.
    Placing(Name),
    /// A question was not answered.
    Inquiry(Node),
    /// A node has not told all that it leads.
    Sync(Node),
    /// A part of an announcement was not acknowledged.
    Announce(Node),
    /// A verdict had no effect yet.
    Superseded(Name, Node),
    /// A session has fewer followers than it should have.
    Recruits(SessionId),
    /// A node says that it follows a session.
    Followed(SessionId),
    /// Whoever took a session over has announced it by now, if it leads it.
    TakenOver(SessionId),
    /// Finds were held back while lists were incomplete.
    Held,
}

/// For whom a request is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asker {
    /// The caller of the directory.
    Caller(RequestId),
    /// A list of this node, for a session that is to begin.
    List(ListKey, Name),
}

/// What is to be done, here and elsewhere.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// For the driver.
    pub actions: VecDeque<Action>,
    /// Messages of this node to itself.
    pub loopback: VecDeque<Message>,
    /// Sessions of this node of which their homes must hear.
    pub changed: VecDeque<SessionId>,
    /// Sessions of this node to which somebody is sent.
    pub expected: VecDeque<SessionId>,
    /// Requests of this node's lists.
    pub wants: VecDeque<(Asker, Want)>,
    /// Their answers.
    pub formed: VecDeque<(ListKey, Name, Result<Placed, Refusal>)>,
}

/// What a part of the directory works with.
pub(super) struct Context<'a> {
    pub now: u64,
    pub me: Node,
    pub cluster: &'a Cluster,
    pub games: &'a BTreeMap<GameName, GameFacts>,
    /// Games of which sessions may be in the store.
    pub sleepers: &'a BTreeSet<GameName>,
    /// Whether others may serve games that are not among these yet.
    pub lacks_games: bool,
    pub timers: &'a mut Timers<Timer>,
    pub out: &'a mut Outbox,
}

impl Context<'_> {
    /// Sends a message, be it to this node itself.
    pub fn send(&mut self, to: Node, message: Message) {
        if to == self.me {
            self.out.loopback.push_back(message);
        } else {
            self.out.actions.push_back(Action::Send { to, message: Box::new(message) });
        }
    }

    pub fn act(&mut self, action: Action) {
        self.out.actions.push_back(action);
    }
}
