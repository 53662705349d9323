//! Random histories against what must hold in each: no seat is given twice, every request is answered once, nothing
//! is left over when all sessions are gone.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::ids::{ModuleHash, NodeId};
use crate::placement::Policy;

#[derive(Debug, Clone)]
enum Step {
    Find { player: u8, criteria: u8 },
    Create { key: u8 },
    Open { key: u8 },
    Confirm { fails: bool },
    Arrive { player: u8 },
    Leave { player: u8 },
    End { which: u8 },
    Wait { ms: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..24, 0u8..2).prop_map(|(player, criteria)| Step::Find { player, criteria }),
        1 => (0u8..4).prop_map(|key| Step::Create { key }),
        1 => (0u8..4).prop_map(|key| Step::Open { key }),
        5 => prop::bool::weighted(0.1).prop_map(|fails| Step::Confirm { fails }),
        5 => (0u8..24).prop_map(|player| Step::Arrive { player }),
        3 => (0u8..24).prop_map(|player| Step::Leave { player }),
        1 => any::<u8>().prop_map(|which| Step::End { which }),
        3 => any::<u16>().prop_map(|ms| Step::Wait { ms }),
    ]
}

/// The directory's surroundings: a worker that answers when told to, players who come or do not.
struct World {
    directory: Directory,
    now: u64,
    next_request: u64,
    asked: BTreeMap<RequestId, Option<PlayerId>>,
    creations: VecDeque<(SessionId, WorkerId)>,
    sent: BTreeMap<PlayerId, SessionId>,
    /// A player may be in matches of several criteria.
    seated: BTreeSet<(PlayerId, SessionId)>,
}

impl World {
    fn new(max_players: u32, late_join: bool) -> Self {
        let mut directory = Directory::new(Node { id: NodeId(1), generation: 5 }, Limits { sessions: 40 });
        let facts = GameFacts {
            module: ModuleHash([0; 32]),
            replicas: Replicas::default(),
            pace: Pace::Prompt,
            min_players: 2,
            max_players,
            late_join,
        };
        directory.handle_game("game".parse().unwrap(), facts);
        (0..2).for_each(|worker| directory.handle_worker(WorkerId(worker)));
        World {
            directory,
            now: 0,
            next_request: 0,
            asked: BTreeMap::new(),
            creations: VecDeque::new(),
            sent: BTreeMap::new(),
            seated: BTreeSet::new(),
        }
    }

    fn request(&mut self, player: Option<PlayerId>) -> (RequestId, Draw) {
        self.next_request += 1;
        self.asked.insert(self.next_request, player);
        // Few keys on purpose: in long histories drawn keys collide.
        (self.next_request, Draw { key: self.next_request % 64, incarnation: self.next_request })
    }

    fn run(&mut self, step: &Step) {
        let game: GameName = "game".parse().unwrap();
        match *step {
            Step::Find { player, criteria } => {
                let player = name(player);
                let (request, draw) = self.request(Some(player.clone()));
                let find = Find { game, criteria: criteria.to_string(), player, record: false, may_create: true, draw };
                self.directory.handle_find(self.now, request, find);
            }
            Step::Create { key } => {
                let (request, draw) = self.request(None);
                let key = Some(format!("key-{key}").parse().unwrap());
                let listed = Some("0".to_owned());
                let create =
                    Create { game, key, config: Bytes::new(), record: false, listed, policy: Policy::Ring, draw };
                self.directory.handle_create(self.now, request, create);
            }
            Step::Open { key } => {
                let (request, draw) = self.request(None);
                let key = format!("key-{key}").parse().unwrap();
                let open = Open { game, key, record: false, may_create: draw.key % 2 == 0, draw };
                self.directory.handle_open(self.now, request, open);
            }
            Step::Confirm { fails } => self.confirm(fails),
            Step::Arrive { player } => {
                if let Some(session) = self.sent.remove(&name(player)) {
                    self.directory.handle_joined(self.now, &session, &name(player));
                    self.seated.insert((name(player), session));
                }
            }
            Step::Leave { player } => {
                let seat = self.seated.iter().find(|(seated, _)| *seated == name(player)).cloned();
                if let Some((_, session)) = seat.inspect(|seat| _ = self.seated.remove(seat)) {
                    self.directory.handle_left(self.now, &session, &name(player));
                }
            }
            Step::End { which } => {
                let ids: Vec<SessionId> =
                    self.directory.sessions().filter(|entry| entry.live).map(|entry| entry.id.clone()).collect();
                if !ids.is_empty() {
                    self.end(&ids[which as usize % ids.len()].clone());
                }
            }
            Step::Wait { ms } => {
                self.now += u64::from(ms) * 1000;
                self.directory.handle_timeout(self.now);
            }
        }
        self.act();
    }

    fn confirm(&mut self, fails: bool) {
        if let Some((session, worker)) = self.creations.pop_front() {
            let result = if fails { Err("failed".to_owned()) } else { Ok(()) };
            self.directory.handle_created(self.now, &session, worker, result);
        }
    }

    fn end(&mut self, session: &SessionId) {
        self.directory.handle_ended(self.now, session, "over".to_owned());
        self.sent.retain(|_, other| other != session);
        self.seated.retain(|(_, other)| other != session);
    }

    fn act(&mut self) {
        while let Some(action) = self.directory.poll_action() {
            match action {
                Action::Create { session, worker, .. } => self.creations.push_back((session, worker)),
                Action::End { session, .. } => self.end(&session),
                Action::Answer { request, answer } => {
                    let player = self.asked.remove(&request).expect("a request is answered once");
                    if let (Some(player), Ok(placed)) = (player, answer) {
                        self.sent.insert(player, placed.session);
                    }
                }
                other => panic!("a node alone has nobody to talk to, and nothing is followed: {other:?}"),
            }
        }
    }

    /// Nobody is sent beyond the seats while reservations last; taken seats never exceed them.
    fn check(&self) {
        for entry in self.directory.sessions() {
            // Who comes after their reservation ended may find the match full: the guest's worker refuses them.
            assert!(entry.reserved <= entry.seats as usize, "{entry:?}");
            if entry.reserved > 0 {
                assert!(entry.players + entry.reserved <= entry.seats as usize + self.late(entry.id), "{entry:?}");
            }
        }
        let waiting: usize = self.asked.len();
        assert_eq!(self.directory.sizes().requests, waiting, "every request is either answered or waits");
    }

    /// Players who came to a session without a seat being kept for them any more.
    fn late(&self, session: &SessionId) -> usize {
        self.seated.iter().filter(|(_, other)| other == session).count()
    }
}

fn name(player: u8) -> PlayerId {
    format!("p{player}").parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn histories_keep_the_promises(
        max_players in 1u32..6,
        late_join in any::<bool>(),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut world = World::new(max_players, late_join);
        for step in &steps {
            world.run(step);
            world.check();
        }
        while !world.creations.is_empty() {
            world.confirm(false);
            world.act();
        }
        prop_assert!(world.asked.is_empty(), "unanswered: {:?}", world.asked);
        let ids: Vec<SessionId> = world.directory.sessions().map(|entry| entry.id.clone()).collect();
        ids.iter().for_each(|id| world.end(id));
        prop_assert_eq!(world.directory.parts.lists.len(), 0);
        prop_assert_eq!(world.directory.next_timeout(), None);
        prop_assert!(world.directory.workers().iter().all(|(_, load)| load.ticking + load.prompt == 0));
    }

    /// However many ask at once, nobody is alone while a seat elsewhere is free.
    #[test]
    fn who_ask_at_once_fill_matches_completely(max_players in 1u32..9, asking in 1u8..40) {
        let mut world = World::new(max_players, true);
        for player in 0..asking {
            world.run(&Step::Find { player, criteria: 0 });
        }
        while !world.creations.is_empty() {
            world.confirm(false);
            world.act();
        }
        let expected = (u32::from(asking)).div_ceil(max_players) as usize;
        prop_assert_eq!(world.directory.sessions().count(), expected.min(40));
        for session in world.directory.sessions() {
            prop_assert!(session.reserved <= max_players as usize);
        }
    }
}
