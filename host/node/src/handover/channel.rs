//! The Unix socket between the two processes: frames both ways, and descriptors with one of them. A thread reads and a
//! thread writes, so that neither end ever waits for the other but where it says so.
//!
//! A frame is a byte that says what it is, the length of its body (four bytes, little end first), and the body.

use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ringside_core::ids::WorkerId;
use tokio::sync::mpsc;

use super::memory::{self, Label};
use super::messages::Said;
use crate::cluster::wire::Message as PeerMessage;
use crate::limits::{HANDOVER_FRAME_BYTES, HANDOVER_OBJECTS, HANDOVER_QUEUE};

/// What is JSON.
const SAID: u8 = 0;
/// What a directory says, as links carry it.
const DIRECTORY: u8 = 1;
/// What is said of a memory object, whose descriptor comes with it.
const OBJECT: u8 = 2;
/// Descriptors that come with a frame at most.
const DESCRIPTORS: usize = 8;

/// What came.
#[derive(Debug)]
pub enum Heard {
    /// Something of the handover, and the descriptors that came with it.
    Said(Said, Vec<OwnedFd>),
    /// Something of the other's directory.
    Directory(Box<PeerMessage>),
    /// A checkpoint, as it was announced.
    Checkpoint {
        /// The worker of the other process that it is from.
        from: WorkerId,
        /// The worker of this process that it is for.
        to: WorkerId,
        /// The checkpoint.
        body: Bytes,
    },
}

/// The sockets that pass last.
#[derive(Debug)]
pub struct Sockets {
    /// Players' first contact.
    pub door: UdpSocket,
    /// Clients who ask in advance.
    pub resolve: TcpListener,
    /// Operators.
    pub admin: TcpListener,
    /// Other nodes' links.
    pub links: UdpSocket,
    /// Other nodes' gossip.
    pub gossip: UdpSocket,
}

impl Sockets {
    /// Others for the same.
    ///
    /// # Errors
    /// The system's.
    pub fn try_clone(&self) -> io::Result<Sockets> {
        Ok(Sockets {
            door: self.door.try_clone()?,
            resolve: self.resolve.try_clone()?,
            admin: self.admin.try_clone()?,
            links: self.links.try_clone()?,
            gossip: self.gossip.try_clone()?,
        })
    }

    fn descriptors(self) -> Vec<OwnedFd> {
        let Sockets { door, resolve, admin, links, gossip } = self;
        vec![door.into(), resolve.into(), admin.into(), links.into(), gossip.into()]
    }

    /// Those that came with [`Said::Take`]; nothing if they are not five.
    pub fn of(descriptors: Vec<OwnedFd>) -> Option<Sockets> {
        let [door, resolve, admin, links, gossip] = <[OwnedFd; 5]>::try_from(descriptors).ok()?;
        Some(Sockets {
            door: door.into(),
            resolve: resolve.into(),
            admin: admin.into(),
            links: links.into(),
            gossip: gossip.into(),
        })
    }
}

/// A frame on its way out.
struct Frame {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    /// It holds one of the places for memory objects until it is sent.
    place: Option<Place>,
}

/// A place for a memory object that waits to be sent.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Place> {
        let more = |taken| (taken < HANDOVER_OBJECTS).then_some(taken + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Room for memory objects that came and are not decoded yet.
#[derive(Default)]
struct Room {
    held: Mutex<usize>,
    freed: Condvar,
}

/// A memory object that came, which holds its place until nobody has it any more.
struct Held {
    body: Vec<u8>,
    room: Arc<Room>,
}

impl Held {
    /// Waits for a place: meanwhile nothing is read, and whoever passes checkpoints sends them over the link.
    fn new(body: Vec<u8>, room: &Arc<Room>) -> Held {
        let held = room.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = room.freed.wait_while(held, |held| *held >= HANDOVER_OBJECTS);
        *held.unwrap_or_else(PoisonError::into_inner) += 1;
        Held { body, room: Arc::clone(room) }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.room.held.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.room.freed.notify_one();
    }
}

/// What is said to the other process; cheap to clone.
#[derive(Clone)]
pub struct Mouth {
    frames: SyncSender<Frame>,
    /// Memory objects that wait to be sent.
    objects: Arc<AtomicUsize>,
}

impl Mouth {
    /// Says something; whether it waits to be sent.
    pub fn say(&self, said: &Said) -> bool {
        self.send(SAID, serde_json::to_vec(said).unwrap_or_default(), Vec::new(), None)
    }

    /// Hands the sockets over.
    pub fn hand_over(&self, sockets: Sockets) -> bool {
        self.send(SAID, serde_json::to_vec(&Said::Take).unwrap_or_default(), sockets.descriptors(), None)
    }

    /// Says something of this one's directory.
    pub fn tell(&self, message: &PeerMessage) -> bool {
        self.send(DIRECTORY, postcard::to_stdvec(message).unwrap_or_default(), Vec::new(), None)
    }

    /// Passes a checkpoint to a worker of the other process as a memory object, which is written here: not for a worker's
    /// thread. Whether it waits to be sent; it may get lost on its way.
    pub fn pass(&self, from: WorkerId, to: WorkerId, body: &[u8]) -> bool {
        let Some(place) = Place::take(&self.objects) else { return false };
        match memory::write(from, to, body) {
            Ok((label, object)) => {
                self.send(OBJECT, postcard::to_stdvec(&label).unwrap_or_default(), vec![object], Some(place))
            }
            Err(error) => {
                tracing::warn!(%error, bytes = body.len(), "a checkpoint cannot be passed as a memory object");
                false
            }
        }
    }

    fn send(&self, kind: u8, body: Vec<u8>, descriptors: Vec<OwnedFd>, place: Option<Place>) -> bool {
        if body.len() > HANDOVER_FRAME_BYTES {
            return false;
        }
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&body);
        self.frames.try_send(Frame { bytes, descriptors, place }).is_ok()
    }
}

/// What the other process says, in order; it ends with the other process.
pub struct Ear(mpsc::Receiver<Heard>);

impl Ear {
    /// The next thing; none once the other is gone, or says what cannot be understood.
    pub async fn next(&mut self) -> Option<Heard> {
        self.0.recv().await
    }

    /// The next thing of the handover itself, within a time.
    pub async fn next_said(&mut self, patience: Duration) -> Option<Said> {
        let next = async {
            loop {
                match self.next().await? {
                    Heard::Said(said, _) => return Some(said),
                    Heard::Directory(_) | Heard::Checkpoint { .. } => {}
                }
            }
        };
        tokio::time::timeout(patience, next).await.ok().flatten()
    }
}

/// Both ends of what is said, over a connected socket.
///
/// # Errors
/// The system gives no thread.
pub fn open(stream: UnixStream) -> io::Result<(Mouth, Ear)> {
    let (frames, queue) = sync_channel(HANDOVER_QUEUE);
    let (heard, ear) = mpsc::channel(HANDOVER_QUEUE);
    let out = stream.try_clone()?;
    std::thread::Builder::new().name("handover-out".into()).spawn(move || write(&out, &queue))?;
    std::thread::Builder::new().name("handover-in".into()).spawn(move || read(&stream, &heard))?;
    Ok((Mouth { frames, objects: Arc::default() }, Ear(ear)))
}

fn write(stream: &UnixStream, queue: &Receiver<Frame>) {
    while let Ok(Frame { bytes, descriptors, place }) = queue.recv() {
        let sent = match descriptors.is_empty() {
            true => (&*stream).write_all(&bytes),
            false => send_with(stream, &bytes, &descriptors),
        };
        match sent {
            Ok(()) => {}
            // Nothing of it was sent: the system has too many descriptors under way. What a worker misses it asks for again.
            Err(error) if place.is_some() && error.raw_os_error() == Some(libc::ETOOMANYREFS) => {
                tracing::warn!(%error, "a checkpoint is not passed");
            }
            // Whoever reads finds the end.
            Err(_) => return,
        }
    }
}

/// The first byte takes the descriptors along; the rest follows as always.
fn send_with(mut stream: &UnixStream, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let size = std::mem::size_of_val(&raw[..]) as libc::c_uint;
    // SAFETY: a computation of sizes.
    let space = unsafe { libc::CMSG_SPACE(size) } as usize;
    // Of words, so that it is aligned as the header asks for.
    let mut control = vec![0_u64; space.div_ceil(8)];
    let mut part = libc::iovec { iov_base: bytes.as_ptr() as *mut libc::c_void, iov_len: 1 };
    // SAFETY: plain data, for which zeros are a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = space as _;
    // SAFETY: `control` has room for one header with `raw` behind it, which is what is written; everything that `message`
    // points to lives until the call has returned.
    let sent = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        std::ptr::copy_nonoverlapping(raw.as_ptr(), libc::CMSG_DATA(header).cast::<RawFd>(), raw.len());
        libc::sendmsg(stream.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    match sent {
        1 => stream.write_all(&bytes[1..]),
        _ => Err(io::Error::last_os_error()),
    }
}

fn read(stream: &UnixStream, heard: &mpsc::Sender<Heard>) {
    let room = Arc::new(Room::default());
    let mut descriptors = Vec::new();
    loop {
        let Some(frame) = read_frame(stream, &mut descriptors) else { return };
        let what = match frame {
            (SAID, body) => serde_json::from_slice(&body).ok().map(|said| Heard::Said(said, descriptors.split_off(0))),
            (OBJECT, body) => match postcard::from_bytes(&body) {
                Ok(label) => match take_object(&label, descriptors.split_off(0), &room) {
                    Some(heard) => Some(heard),
                    None => continue,
                },
                Err(_) => None,
            },
            (DIRECTORY, body) => postcard::from_bytes(&body).ok().map(|message| Heard::Directory(Box::new(message))),
            _ => None,
        };
        let Some(what) = what else {
            tracing::error!("the other process says what this one does not understand");
            return;
        };
        if heard.blocking_send(what).is_err() {
            return;
        }
    }
}

/// A checkpoint that was passed; none if it is not as it was announced.
fn take_object(label: &Label, descriptors: Vec<OwnedFd>, room: &Arc<Room>) -> Option<Heard> {
    match memory::read(label, descriptors) {
        Ok(body) => {
            let body = Bytes::from_owner(Held::new(body, room));
            Some(Heard::Checkpoint { from: label.from, to: label.to, body })
        }
        Err(why) => {
            tracing::error!(%why, "a checkpoint that was passed as a memory object is not taken: it comes over the link");
            None
        }
    }
}

fn read_frame(stream: &UnixStream, descriptors: &mut Vec<OwnedFd>) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    fill(stream, &mut head, descriptors)?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > HANDOVER_FRAME_BYTES {
        tracing::error!(length, "the other process sends a frame that is too long");
        return None;
    }
    let mut body = vec![0; length];
    fill(stream, &mut body, descriptors)?;
    Some((head[0], body))
}

/// Reads until a buffer is full, and keeps the descriptors that come along; none at the end.
fn fill(stream: &UnixStream, mut buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Option<()> {
    while !buffer.is_empty() {
        let count = receive(stream, buffer, descriptors).ok().filter(|count| *count > 0)?;
        buffer = &mut buffer[count..];
    }
    Some(())
}

fn receive(stream: &UnixStream, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: plain data, for which zeros are a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: everything that `message` points to lives until the call has returned, with the lengths that it says.
    let count = unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    if count < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted {
            receive(stream, buffer, descriptors)
        } else {
            Err(error)
        };
    }
    // SAFETY: the kernel has written whole headers; a header's data has the length that it says, and what it says are
    // descriptors is this process's own from now on.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for at in 0..bytes / size_of::<RawFd>() {
                    descriptors.push(OwnedFd::from_raw_fd(std::ptr::read_unaligned(data.add(at))));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    // More than anybody sends are nobody's: they are closed.
    descriptors.truncate(DESCRIPTORS);
    Ok(count as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn pair() -> ((Mouth, Ear), (Mouth, Ear)) {
        let (one, other) = UnixStream::pair().expect("two ends");
        (open(one).expect("threads"), open(other).expect("threads"))
    }

    #[tokio::test]
    async fn sockets_arrive_with_what_is_said_and_are_the_same() {
        let ((mouth, _ear), (_, mut ear)) = pair();
        let udp = || UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let tcp = || TcpListener::bind("127.0.0.1:0").expect("a socket");
        let sockets = Sockets { door: udp(), resolve: tcp(), admin: tcp(), links: udp(), gossip: udp() };
        let kept = sockets.try_clone().expect("copies");
        assert!(mouth.say(&Said::Alive { era: 7 }) && mouth.hand_over(sockets) && mouth.say(&Said::Taken));
        assert_eq!(ear.next_said(PATIENCE).await, Some(Said::Alive { era: 7 }));
        let Some(Heard::Said(Said::Take, descriptors)) = ear.next().await else { panic!("the sockets") };
        let came = Sockets::of(descriptors).expect("five");
        assert_eq!(came.door.local_addr().unwrap(), kept.door.local_addr().unwrap());
        assert_eq!(came.admin.local_addr().unwrap(), kept.admin.local_addr().unwrap());
        assert_eq!(came.gossip.local_addr().unwrap(), kept.gossip.local_addr().unwrap());
        assert_eq!(ear.next_said(PATIENCE).await, Some(Said::Taken));
        drop(mouth);
    }

    #[test]
    fn no_more_objects_are_held_than_there_is_room_for() {
        let room = Arc::<Room>::default();
        let mut held: Vec<Held> = (0..HANDOVER_OBJECTS).map(|_| Held::new(vec![1], &room)).collect();
        let (came, waits) = sync_channel(1);
        let more = Arc::clone(&room);
        let waiting = std::thread::spawn(move || came.send(Held::new(vec![2], &more)).expect("it is taken"));
        assert!(waits.try_recv().is_err(), "there is no room");
        assert_eq!(*room.held.lock().expect("a count"), HANDOVER_OBJECTS);
        held.pop();
        held.push(waits.recv().expect("one more"));
        waiting.join().expect("it came");
        assert_eq!(held.last().expect("the last").as_ref(), [2]);
        drop(held);
        assert_eq!(*room.held.lock().expect("a count"), 0);
    }

    #[tokio::test]
    async fn what_is_too_long_or_makes_no_sense_ends_it() {
        let (one, other) = UnixStream::pair().expect("two ends");
        let (_mouth, mut ear) = open(other).expect("threads");
        let mut head = vec![SAID];
        head.extend_from_slice(&(HANDOVER_FRAME_BYTES as u32 + 1).to_le_bytes());
        (&one).write_all(&head).expect("written");
        assert!(ear.next().await.is_none());
        let (one, other) = UnixStream::pair().expect("two ends");
        let (_mouth, mut ear) = open(other).expect("threads");
        (&one).write_all(&[SAID, 2, 0, 0, 0, b'{', b'}']).expect("written");
        assert!(ear.next().await.is_none());
    }

    #[tokio::test]
    async fn checkpoints_arrive_and_what_is_wrong_with_one_ends_nothing() {
        let ((mouth, _ear), (_, mut ear)) = pair();
        let body = vec![3; 1 << 20];
        // As a peer may send them that is broken, or means ill: damaged, without an object, with one that is no memory.
        let (label, object) = memory::write(WorkerId(0), WorkerId(1), &body).expect("an object");
        let damaged = postcard::to_stdvec(&Label { hash: [0; 32], ..label.clone() }).expect("a label");
        let label = postcard::to_stdvec(&label).expect("a label");
        let file = std::fs::File::open("/proc/self/exe").expect("a file");
        assert!(mouth.send(OBJECT, damaged, vec![object], None));
        assert!(mouth.send(OBJECT, label.clone(), Vec::new(), None));
        assert!(mouth.send(OBJECT, label, vec![file.into()], None));
        assert!(mouth.pass(WorkerId(0), WorkerId(1), &body) && mouth.say(&Said::Taken));
        let Some(Heard::Checkpoint { from, to, body: came }) = ear.next().await else { panic!("the checkpoint") };
        assert_eq!((from, to), (WorkerId(0), WorkerId(1)));
        assert!(came == body);
        assert_eq!(ear.next_said(PATIENCE).await, Some(Said::Taken));
    }

    #[tokio::test]
    async fn checkpoints_beyond_the_bound_are_not_taken() {
        let (one, _other) = UnixStream::pair().expect("two ends");
        let (frames, queue) = sync_channel(HANDOVER_QUEUE);
        let mouth = Mouth { frames, objects: Arc::default() };
        let pass = || mouth.pass(WorkerId(0), WorkerId(1), b"state");
        assert_eq!((0..2 * HANDOVER_OBJECTS).filter(|_| pass()).count(), HANDOVER_OBJECTS);
        assert!(mouth.say(&Said::Taken), "there is room for the rest");
        std::thread::spawn(move || write(&one, &queue));
        while !pass() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_nobody_reads_is_said_to_find_no_room() {
        let (one, _other) = UnixStream::pair().expect("two ends");
        let (mouth, _ear) = open(one).expect("threads");
        let long = Said::Failed { why: "x".repeat(32 << 10) };
        let said = (0..=2 * HANDOVER_QUEUE).take_while(|_| mouth.say(&long)).count();
        assert!(said <= 2 * HANDOVER_QUEUE, "a bounded number waits");
        assert!(!mouth.say(&Said::Failed { why: "x".repeat(HANDOVER_FRAME_BYTES) }), "it is too long");
    }
}
