//! The recorder: takes the log batches of recorded sessions from workers and keeps them in the store as numbered
//! segments. A worker never waits for it: where the queue is full, the session's recording ends there, and that is
//! counted. What a recording holds up to that point stays good.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use ringside_core::ids::{Epoch, SessionId};
use ringside_core::recording::About;
use ringside_worker::replication::Kept;
use ringside_worker::{PartHead, Piece};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::limits::{RECORDER_BATCHES, RECORDER_BYTES, SEGMENT_AGE, SEGMENT_BYTES, SEGMENTS};
use crate::pace::every;
use crate::store::{Segment, Store};

/// What the recorder has counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecorderCounters {
    /// Bytes taken from workers.
    pub taken_bytes: u64,
    /// Segments written.
    pub segments: u64,
    /// Recordings that ended early because the queue was full or the store failed.
    pub gaps: u64,
    /// Bytes that wait.
    pub queued_bytes: u64,
}

#[derive(Debug, Default)]
struct Shared {
    taken_bytes: AtomicU64,
    segments: AtomicU64,
    gaps: AtomicU64,
    queued_bytes: AtomicU64,
    /// Parts that ended early and why, until their sessions end or leave.
    broken: Mutex<HashMap<Part, String>>,
}

impl Shared {
    fn broken(&self) -> std::sync::MutexGuard<'_, HashMap<Part, String>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gap(&self, part: &Part, why: &str) {
        if let Entry::Vacant(sound) = self.broken().entry(part.clone()) {
            sound.insert(why.to_owned());
            self.gaps.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(session = %part.0, why, "the recording ends here");
        }
    }
}

/// Why a part ends where the queue has no room.
const LATE: &str = "the store does not keep up";

/// A part of a recording: of the leader of an epoch, or the one that the session began with.
type Part = (SessionId, Option<Epoch>);

enum Item {
    Begin(Box<PartHead>),
    Batch(SessionId, Piece),
    End(SessionId),
    Flush(SessionId, oneshot::Sender<()>),
    Keep(Box<Kept>),
    Stop(oneshot::Sender<()>),
}

/// The way to the recorder; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
    items: mpsc::Sender<Item>,
}

impl Recorder {
    /// Starts the recorder's task on the current runtime.
    pub fn start(store: Store) -> Recorder {
        let (items, queue) = mpsc::channel(RECORDER_BATCHES);
        let shared = Arc::new(Shared::default());
        tokio::spawn(Writer { shared: shared.clone(), store, open: BTreeMap::new() }.run(queue));
        Recorder { shared, items }
    }

    /// Takes what a part begins with; never waits.
    pub fn begin(&self, head: Box<PartHead>) {
        let (session, epoch) = head.part();
        let part = (session.clone(), Some(epoch));
        // The state in it is the session's own, and in memory anyway.
        if self.items.try_send(Item::Begin(head)).is_err() {
            self.shared.gap(&part, LATE);
        }
    }

    /// Takes a piece; never waits.
    pub fn offer(&self, session: &SessionId, piece: Piece) {
        let part = (session.clone(), piece.part);
        if self.shared.broken().contains_key(&part) {
            return;
        }
        let bytes = piece.frames.len() as u64;
        let queued = self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued + bytes > RECORDER_BYTES || self.items.try_send(Item::Batch(session.clone(), piece)).is_err() {
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.shared.gap(&part, LATE);
            return;
        }
        self.shared.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Keeps a part of a session's log; never waits. It is named in the node's log, and by what shows the session.
    pub fn keep(&self, kept: Box<Kept>) {
        let session = kept.session.clone();
        if self.items.try_send(Item::Keep(kept)).is_err() {
            tracing::error!(%session, "a part of the log is not kept: the store does not keep up");
        }
    }

    /// The session is over, or led here no more: what was taken of it is written. Waits where the queue is full; not for
    /// async code.
    pub fn end(&self, session: &SessionId) {
        let _ = self.items.blocking_send(Item::End(session.clone()));
    }

    /// Returns when everything that was taken of the session so far is in the store.
    pub async fn flush(&self, session: &SessionId) {
        let (done, wait) = oneshot::channel();
        if self.items.send(Item::Flush(session.clone(), done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Returns when everything that was taken is in the store; nothing is taken after it.
    pub async fn stop(&self) {
        let (done, wait) = oneshot::channel();
        if self.items.send(Item::Stop(done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Returns when the task has ended: it does without [`Recorder::stop`] only if it broke.
    pub async fn broken(&self) {
        self.items.closed().await;
    }

    /// Why the recording of a session that goes on here ended, if it did.
    pub fn ended_early(&self, session: &SessionId) -> Option<String> {
        let broken = self.shared.broken();
        broken.iter().find(|((of, _), _)| of == session).map(|(_, why)| why.clone())
    }

    /// What was counted.
    pub fn counters(&self) -> RecorderCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RecorderCounters {
            taken_bytes: read(&self.shared.taken_bytes),
            segments: read(&self.shared.segments),
            gaps: read(&self.shared.gaps),
            queued_bytes: read(&self.shared.queued_bytes),
        }
    }
}

/// A part that is being written.
struct Open {
    /// A segment was not written: nothing after it is, for it would not follow.
    lost: bool,
    next: u32,
    buffer: BytesMut,
    since: Instant,
}

impl Open {
    fn new() -> Open {
        Open { lost: false, next: 1, buffer: BytesMut::new(), since: Instant::now() }
    }
}

struct Writer {
    shared: Arc<Shared>,
    store: Store,
    open: BTreeMap<Part, Open>,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Item>) {
        let mut clock = every(SEGMENT_AGE / 4);
        loop {
            tokio::select! {
                item = queue.recv() => match item {
                    None => return self.flush_all().await,
                    Some(Item::Stop(done)) => {
                        queue.close();
                        while let Ok(item) = queue.try_recv() {
                            self.handle(item).await;
                        }
                        self.flush_all().await;
                        let _ = done.send(());
                        return;
                    }
                    Some(item) => self.handle(item).await,
                },
                _ = clock.tick() => self.flush_aged().await,
            }
        }
    }

    async fn handle(&mut self, item: Item) {
        match item {
            Item::Begin(head) => self.begin(*head).await,
            Item::Batch(session, piece) => self.batch(session, piece).await,
            Item::End(session) => {
                for part in self.parts(&session) {
                    self.close(&part).await;
                }
                self.shared.broken().retain(|(broken, _), _| *broken != session);
            }
            Item::Flush(session, done) => {
                for part in self.parts(&session) {
                    self.flush(&part).await;
                }
                let _ = done.send(());
            }
            Item::Keep(kept) => self.keep(*kept).await,
            Item::Stop(done) => drop(done),
        }
    }

    async fn keep(&self, kept: Kept) {
        let (session, name, about) = (kept.session.clone(), kept.name(), kept.about);
        let encoded = tokio::task::spawn_blocking(move || kept.encode()).await;
        let bytes = match encoded {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => return tracing::error!(%session, %error, "a part of the log is not kept"),
            Err(error) => return tracing::error!(%session, %error, "a part of the log is not kept"),
        };
        match self.store.keep(&session, &name, bytes).await {
            Ok(object) => match about {
                About::Diverged { .. } => {
                    tracing::error!(%session, %object, "one side of a divergence is kept: `ringside replay` finds where");
                }
                About::Fork { .. } => tracing::warn!(%session, %object, "the branch that lost is kept as a recording"),
            },
            Err(error) => tracing::error!(%session, %name, %error, "a part of the log is not kept"),
        }
    }

    fn parts(&self, session: &SessionId) -> Vec<Part> {
        let first = (session.clone(), None);
        let parts = self.open.range(first..).take_while(|((of, _), _)| of == session);
        parts.map(|(part, _)| part.clone()).collect()
    }

    async fn begin(&mut self, head: PartHead) {
        let (session, epoch) = head.part();
        let part = (session.clone(), Some(epoch));
        let open = self.open.entry(part.clone()).or_insert_with(Open::new);
        match tokio::task::spawn_blocking(move || head.encode()).await {
            Ok(Ok(bytes)) => open.buffer.extend_from_slice(&bytes),
            Ok(Err(error)) => {
                tracing::error!(session = %part.0, %error, "the recording does not go on");
                open.lost = true;
            }
            Err(error) => {
                tracing::error!(session = %part.0, %error, "the recording does not go on");
                open.lost = true;
            }
        }
    }

    async fn batch(&mut self, session: SessionId, Piece { part, frames, is_last, .. }: Piece) {
        self.shared.queued_bytes.fetch_sub(frames.len() as u64, Ordering::Relaxed);
        let part = (session, part);
        let open = self.open.entry(part.clone()).or_insert_with(Open::new);
        if open.buffer.is_empty() {
            open.since = Instant::now();
        }
        if !open.lost {
            open.buffer.extend_from_slice(&frames);
        }
        if is_last {
            self.close(&part).await;
        } else if open.buffer.len() >= SEGMENT_BYTES {
            self.flush(&part).await;
        }
    }

    /// Nothing of it follows.
    async fn close(&mut self, part: &Part) {
        self.flush(part).await;
        self.open.remove(part);
    }

    async fn flush_aged(&mut self) {
        let aged = |open: &Open| !open.buffer.is_empty() && open.since.elapsed() >= SEGMENT_AGE;
        let due: Vec<Part> = self.open.iter().filter(|(_, open)| aged(open)).map(|(part, _)| part.clone()).collect();
        for part in due {
            self.flush(&part).await;
        }
    }

    async fn flush_all(&mut self) {
        let all: Vec<Part> = self.open.keys().cloned().collect();
        for part in all {
            self.flush(&part).await;
        }
    }

    async fn flush(&mut self, part: &Part) {
        let (session, epoch) = part;
        let Some(open) = self.open.get_mut(part).filter(|open| !open.lost && !open.buffer.is_empty()) else {
            return;
        };
        let (number, bytes) = (open.next, open.buffer.split().freeze());
        open.next += 1;
        let written = match number {
            beyond if beyond > SEGMENTS => Err("it is as long as a recording may be".to_owned()),
            number => match self.store.put_segment(session, Segment { part: *epoch, number }, bytes).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(format!("the store has a segment {number} of it already")),
                Err(error) => Err(format!("the store does not take segment {number}: {error}")),
            },
        };
        match written {
            Ok(()) => _ = self.shared.segments.fetch_add(1, Ordering::Relaxed),
            Err(why) => {
                open.lost = true;
                self.shared.gap(part, &why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ringside_test_support::wait::until;

    use super::*;

    fn session(key: &str) -> SessionId {
        format!("pong/{key}@0000000000000001").parse().unwrap()
    }

    /// A piece of the first part.
    fn piece(frames: impl Into<Bytes>) -> Piece {
        Piece { part: None, frames: frames.into(), from: 1, is_last: false }
    }

    fn segment(number: u32) -> Segment {
        Segment { part: None, number }
    }

    async fn recorded(store: &Store, session: &SessionId) -> Vec<u8> {
        let mut bytes = Vec::new();
        for segment in store.segments(session).await.unwrap() {
            bytes.extend_from_slice(&store.segment(session, segment).await.unwrap());
        }
        bytes
    }

    async fn end(recorder: &Recorder, key: &str) {
        let (recorder, session) = (recorder.clone(), session(key));
        tokio::task::spawn_blocking(move || recorder.end(&session)).await.unwrap();
    }

    #[tokio::test]
    async fn batches_come_back_in_order_after_a_flush() {
        let store = Store::memory();
        let recorder = Recorder::start(store.clone());
        let mut expected = Vec::new();
        for number in 0..200u32 {
            let batch = vec![number as u8; 4000];
            expected.extend_from_slice(&batch);
            recorder.offer(&session("a"), piece(batch));
            recorder.offer(&session("b"), piece(&b"x"[..]));
        }
        recorder.flush(&session("a")).await;
        assert_eq!(recorded(&store, &session("a")).await, expected);
        assert!(store.segments(&session("a")).await.unwrap().len() > 1, "long recordings are cut");
        assert_eq!(recorded(&store, &session("b")).await, b"");
        recorder.stop().await;
        recorder.broken().await;
        assert_eq!(recorded(&store, &session("b")).await.len(), 200);
        assert_eq!(recorder.counters().queued_bytes, 0);
    }

    #[tokio::test]
    async fn an_end_writes_the_rest() {
        let store = Store::memory();
        let recorder = Recorder::start(store.clone());
        recorder.offer(&session("a"), piece(&b"one"[..]));
        end(&recorder, "a").await;
        recorder.flush(&session("a")).await;
        assert_eq!(recorded(&store, &session("a")).await, b"one");
    }

    /// The task does not run between the offers (one thread, nothing awaited), so the queue fills up.
    #[tokio::test(flavor = "current_thread")]
    async fn a_full_queue_ends_the_recording_and_is_counted_once() {
        let store = Store::memory();
        let recorder = Recorder::start(store.clone());
        for _ in 0..RECORDER_BATCHES + 10 {
            recorder.offer(&session("a"), piece(&b"."[..]));
        }
        assert_eq!(recorder.counters().gaps, 1);
        recorder.flush(&session("a")).await;
        recorder.offer(&session("a"), piece(&b"later"[..]));
        end(&recorder, "a").await;
        recorder.flush(&session("a")).await;
        assert_eq!(recorded(&store, &session("a")).await.len(), RECORDER_BATCHES, "nothing after the gap");

        let half = Bytes::from(vec![0; (RECORDER_BYTES / 2 + 1) as usize]);
        recorder.offer(&session("b"), piece(half.clone()));
        recorder.offer(&session("b"), piece(half));
        assert_eq!(recorder.counters().gaps, 2, "bytes are bounded too");
    }

    #[tokio::test]
    async fn nothing_is_written_behind_a_lost_segment() {
        let store = Store::memory();
        store.put_segment(&session("a"), segment(1), Bytes::from_static(b"old")).await.unwrap();
        let recorder = Recorder::start(store.clone());
        let whole = Bytes::from(vec![1; SEGMENT_BYTES]);
        (0..3).for_each(|_| recorder.offer(&session("a"), piece(whole.clone())));
        recorder.flush(&session("a")).await;
        assert_eq!(store.segments(&session("a")).await.unwrap(), [segment(1)]);
        assert_eq!(recorder.counters().gaps, 1);
        recorder.stop().await;
    }

    #[tokio::test]
    async fn a_small_segment_is_written_in_time() {
        let store = Store::memory();
        let recorder = Recorder::start(store.clone());
        recorder.offer(&session("a"), piece(&b"small"[..]));
        until("the segment", async || (recorded(&store, &session("a")).await == b"small").then_some(())).await;
    }

    #[tokio::test]
    async fn a_recording_ends_at_its_last_segment() {
        let store = Store::memory();
        let mut writer = Writer { shared: Arc::default(), store: store.clone(), open: BTreeMap::new() };
        for (next, body) in [(SEGMENTS, &b"last"[..]), (SEGMENTS + 1, b"beyond")] {
            let open = Open { lost: false, next, buffer: BytesMut::from(body), since: Instant::now() };
            writer.open.insert((session("a"), None), open);
            writer.flush(&(session("a"), None)).await;
        }
        assert_eq!(store.segments(&session("a")).await.unwrap(), [segment(SEGMENTS)]);
        assert_eq!(writer.shared.gaps.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_store_that_has_the_segment_already_is_a_gap() {
        let store = Store::memory();
        store.put_segment(&session("a"), segment(1), Bytes::from_static(b"old")).await.unwrap();
        let recorder = Recorder::start(store.clone());
        recorder.offer(&session("a"), piece(&b"new"[..]));
        recorder.flush(&session("a")).await;
        assert_eq!(recorder.counters().gaps, 1);
        assert_eq!(recorded(&store, &session("a")).await, b"old");
    }
}
