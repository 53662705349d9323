//! What the directory is told of replicated sessions, and what directories say to each other of them. How the parts play
//! together when a session changes its leader:
//!
//! ```text
//!  worker (was follower) ─Promoted─► led ─Announce─► home: the entry names the new leader, players are sent there
//!                                     └─Follow─► nodes, until it has its followers again
//!  worker (was leader) ──Deposed──► followed: nothing is announced, it lives elsewhere
//!  worker (leads still) ──Record, of a new epoch─► led ─Announce─► home: for it may have heard of the branch that lost
//! ```

use crate::ids::{Node, NodeId, PlayerId, SessionId, WorkerId};
use crate::leadership::message as leadership;
use crate::leadership::record::{Member, Record, Terms};

use super::context::{Cluster, Context};
use super::message::{Charter, Message, NotFollowed, name_of};
use super::types::{Action, Refusal};
use super::{Directory, Parts};

impl Directory {
    /// The worker answered [`Action::Follow`].
    pub fn handle_followed(&mut self, now: u64, session: &SessionId, result: Result<(), NotFollowed>) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_followed(&mut cx, session, result);
        self.settle(now);
    }

    /// The worker answered [`Action::Unfollow`]: whether it follows the session no more.
    pub fn handle_unfollowed(&mut self, now: u64, session: &SessionId, is_over: bool) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_unfollowed(&mut cx, session, is_over);
        self.settle(now);
    }

    /// A session that was followed here is led here now, by this record, and these sit in it.
    pub fn handle_promoted(
        &mut self,
        now: u64,
        session: &SessionId,
        worker: WorkerId,
        record: &Record,
        players: &[PlayerId],
    ) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_promoted(&mut cx, session, worker, record, players);
        parts.recruits.handle_promoted(&mut cx, &parts.led, session, record);
        self.settle(now);
    }

    /// A session that was led here is led by another, by this record, and followed here.
    pub fn handle_deposed(&mut self, now: u64, session: &SessionId, by: &Record) {
        let (mut cx, parts) = self.split(now);
        parts.recruits.forget(&mut cx, session);
        if cx.cluster.home_of(&name_of(session)) == Some(cx.me) {
            // Whoever leads it now says so itself, if it comes to that.
            let words = leadership::Message::Lead { record: Box::new(by.clone()), end: None };
            let _ = parts.home.handle_words(&cx, session, words);
        }
        parts.led.handle_deposed(&mut cx, session, by);
        self.settle(now);
    }

    /// The record of a session that is led here is another one: who counts, above all, or the epoch, where another branch lost.
    pub fn handle_record(&mut self, now: u64, session: &SessionId, record: &Record) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_record(&mut cx, session, record);
        parts.recruits.handle_record(&mut cx, &parts.led, session, record);
        self.settle(now);
    }

    /// A worker says something to the home of a session; what the home says to it is [`Action::FromHome`].
    pub fn handle_to_home(&mut self, now: u64, session: SessionId, worker: WorkerId, message: leadership::Message) {
        let (mut cx, _) = self.split(now);
        let from = Member { node: cx.me, worker };
        // One that is lost is said again by whoever said it.
        if let Some(home) = cx.cluster.home_of(&name_of(&session)) {
            cx.send(home, Message::ToHome { session, from, message: Box::new(message) });
        }
        self.settle(now);
    }

    /// A session that is led here is to be followed by a node, whatever the ring says: it is about to move there.
    pub fn handle_wanted(&mut self, now: u64, session: &SessionId, node: Node) {
        let (mut cx, parts) = self.split(now);
        if parts.led.current(session).is_some() && cx.cluster.present.contains(&node) {
            parts.recruits.want(&mut cx, &parts.led, session, node);
        }
        self.settle(now);
    }

    /// A session is about to begin again here, from the store: on which worker, and what it promises. Until it is led
    /// ([`Directory::handle_promoted`]) or given up ([`Directory::handle_followed`]) it counts as followed. Without a
    /// charter it is taken for one that began as its game's sessions do now.
    ///
    /// # Errors
    /// There is no room, or it is led here.
    pub fn handle_recovering(
        &mut self,
        now: u64,
        session: &SessionId,
        charter: Option<Charter>,
        leader: Member,
    ) -> Result<(WorkerId, Terms), Refusal> {
        let (mut cx, parts) = self.split(now);
        let chosen = parts.led.handle_recovering(&mut cx, session, charter, leader);
        self.settle(now);
        chosen
    }

    /// What was to be created as `birth` ([`Action::Create`]) goes on as a session of that key which was evicted, begun with
    /// this charter: on which worker, and what it promises. [`Directory::handle_promoted`] says that it does, or
    /// [`Directory::handle_created`] that it does not.
    ///
    /// # Errors
    /// It took too long: nobody waits for it any more.
    pub fn handle_activating(
        &mut self,
        now: u64,
        birth: &SessionId,
        charter: Charter,
    ) -> Result<(WorkerId, Terms), Refusal> {
        let (mut cx, parts) = self.split(now);
        let chosen = parts.led.handle_activating(&mut cx, birth, charter);
        self.settle(now);
        chosen
    }

    /// A session that is led here was evicted.
    pub fn handle_evicted(&mut self, now: u64, session: &SessionId) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_evicted(&mut cx, session);
        self.settle(now);
    }

    /// What a session of this node was begun with.
    pub fn charter(&self, session: &SessionId) -> Option<&Charter> {
        let led = self.parts.led.current(session).map(|led| &led.charter);
        led.or_else(|| self.parts.led.following().get(session).map(|followed| &followed.charter))
    }

    /// Whether a session is led here, or about to be.
    pub fn leads(&self, session: &SessionId) -> bool {
        self.parts.led.current(session).is_some()
    }

    /// Whether a session runs here.
    pub fn is_live(&self, session: &SessionId) -> bool {
        self.parts.led.current(session).is_some_and(|led| led.is_live())
    }

    /// A session was lost with an earlier run, or with another node: it is shown among those that ended.
    pub fn handle_lost(&mut self, now: u64, session: SessionId, reason: String) {
        self.parts.led.remember(now, session, reason);
    }

    /// The worker was not told to create a session, and whoever waits for it is refused so.
    pub fn handle_not_created(&mut self, now: u64, session: &SessionId, refusal: &Refusal) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_not_created(&mut cx, session, refusal);
        self.settle(now);
    }

    /// A session that was to be created here is for another node: the home asks the next.
    pub fn handle_not_hosted(&mut self, now: u64, session: &SessionId, refusal: Refusal) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_not_hosted(&mut cx, session, refusal);
        self.settle(now);
    }

    /// The node to which a session that is led here goes when this one leaves: that on which it would be placed, but for
    /// those that were tried.
    pub fn elsewhere(&mut self, session: &SessionId, tried: &[NodeId]) -> Option<Node> {
        let me = self.me().id;
        self.parts.home.elsewhere(&self.cluster, me, &name_of(session), tried)
    }

    /// The home of a session, as this node sees it.
    pub fn home_of(&self, session: &SessionId) -> Option<Node> {
        self.cluster.home_of(&name_of(session))
    }

    /// Who follows a session that is led here, as far as they have said so.
    pub fn followers(&self, session: &SessionId) -> Vec<Member> {
        self.parts.recruits.of(session)
    }

    /// The sessions that this node follows: which, on which worker, and who leads each.
    pub fn followed(&self) -> impl Iterator<Item = (&SessionId, WorkerId, Member)> {
        self.parts.led.following().iter().map(|one| (&one.charter.session, one.worker, one.leader))
    }

    /// What another node leads and this one follows though the session asks for no followers: it is about to be led here. Not
    /// what went to the process beside this one.
    pub fn arriving(&self) -> impl Iterator<Item = &SessionId> {
        self.parts.led.following().iter().filter(|one| one.is_arriving()).map(|one| &one.charter.session)
    }

    /// The newest leadership record of a session that this node knows as its home.
    pub fn record(&self, session: &SessionId) -> Option<&Record> {
        self.parts.home.copies().newest(session).map(|record| &**record)
    }
}

/// Gives a message to the part that it is for.
pub(super) fn dispatch(cx: &mut Context<'_>, parts: &mut Parts, from: Node, message: Message) {
    match message {
        Message::Follow { charter, leader, age_us } => parts.led.handle_follow(cx, from, *charter, leader, age_us),
        Message::Follows { session, answer } => {
            let is_led = parts.recruits.handle_follows(cx, &parts.led, from, &session, answer);
            if !is_led && answer.is_ok() {
                direct(cx, parts, from, session);
            }
        }
        Message::Unfollow { session } => parts.led.following_mut().handle_unfollow(cx, from, &session),
        Message::LedBy { session, leader } => parts.led.following_mut().handle_led_by(cx, &session, leader),
        Message::ToHome { session, from: member, message } if member.node == from => {
            if let Some(answer) = parts.home.handle_words(cx, &session, *message) {
                cx.send(from, Message::FromHome { session, to: member, message: Box::new(answer) });
            }
        }
        Message::FromHome { session, to, message } if to.node == cx.me => {
            let is_home = cx.cluster.home_of(&name_of(&session)) == Some(from);
            if is_home {
                cx.act(Action::FromHome { session, worker: to.worker, message });
            }
        }
        _ => {}
    }
}

/// Somebody follows a session that this node does not lead: they are told who does, as far as this node knows.
fn direct(cx: &mut Context<'_>, parts: &Parts, from: Node, session: SessionId) {
    let is_home = cx.cluster.home_of(&name_of(&session)) == Some(cx.me);
    let leader = match parts.led.following().get(&session).map(|followed| followed.leader) {
        _ if is_home => parts.home.leader_of(&session),
        Some(leader) if cx.cluster.present.contains(&leader.node) => Ok(Some(leader)),
        Some(_) => Err(()),
        // It was led here, as they say, and is not.
        None => Ok(None),
    };
    match leader {
        Ok(Some(leader)) if leader.node == from => {}
        Ok(Some(leader)) => cx.send(from, Message::LedBy { session, leader }),
        Ok(None) => cx.send(from, Message::Unfollow { session }),
        Err(()) => {}
    }
}

/// The ring changed: leaders of sessions with followers are told if their home did.
pub(super) fn tell_new_homes(cx: &mut Context<'_>, parts: &Parts, before: &Cluster) {
    let moved = parts.led.sessions().filter(|led| led.charter.facts.replicas.followers > 0).filter(|led| {
        let name = led.name();
        before.home_of(&name) != cx.cluster.home_of(&name)
    });
    let moved: Vec<Action> =
        moved.map(|led| Action::NewHome { session: led.id().clone(), worker: led.worker }).collect();
    moved.into_iter().for_each(|action| cx.act(action));
}
