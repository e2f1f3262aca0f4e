//! The few system calls that std lacks, and locks. All `unsafe` of this crate is in this file.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The guard of a mutex, even if a thread that held it has panicked: a failing test has.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The signals that the bench sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
    Kill,
}

impl Signal {
    fn number(self) -> libc::c_int {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
            Self::Kill => libc::SIGKILL,
        }
    }
}

/// Sends a signal to a process. The caller must not have reaped it yet: the number could belong to
/// another process.
pub(crate) fn signal_process(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: kill takes two integers and touches no memory of ours.
    checked(unsafe { libc::kill(pid, signal.number()) })
}

/// Ends every read and accept that blocks on `socket`, in any thread. It also works on unconnected
/// UDP sockets and on listeners (the call then reports ENOTCONN, but wakes the waiting threads).
pub(crate) fn wake_readers(socket: &impl AsRawFd) {
    // SAFETY: the descriptor is open, since `socket` is borrowed; no memory is passed.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}

/// Sets how many connections may wait to be accepted. std asks for 128; a client that finds the
/// queue full tries again only a second later.
pub(crate) fn widen_backlog(listener: &impl AsRawFd, connections: libc::c_int) {
    // SAFETY: the descriptor is open, since `listener` is borrowed; no memory is passed.
    unsafe { libc::listen(listener.as_raw_fd(), connections) };
}

/// Receive buffer in bytes of a socket that has been narrowed.
const NARROW_BYTES: libc::c_int = 8192;

/// The same after it has been widened again.
const USUAL_BYTES: libc::c_int = 1 << 20;

/// From now on the kernel accepts only a little unread data, however fast the other side is.
pub(crate) fn narrow_receive_buffer(socket: &impl AsRawFd) {
    set_receive_buffer(socket, libc::SO_RCVBUF, NARROW_BYTES);
}

/// Accepts as much as a fast reader needs again.
pub(crate) fn restore_receive_buffer(socket: &impl AsRawFd) {
    set_receive_buffer(socket, libc::SO_RCVBUF, USUAL_BYTES);
    // Newer kernels remember the narrow window if a segment of another size has arrived meanwhile,
    // and a larger buffer alone does not widen it: the sender would get only one small segment
    // through with each window probe.
    set_socket_option(
        socket,
        libc::IPPROTO_TCP,
        libc::TCP_WINDOW_CLAMP,
        USUAL_BYTES,
    );
}

/// Reserves room for about `bytes` of unread datagrams; without permission to exceed the system's
/// limit (net.core.rmem_max), as much as it allows.
pub(crate) fn widen_receive_buffer(socket: &impl AsRawFd, bytes: libc::c_int) {
    for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE] {
        set_receive_buffer(socket, option, bytes);
    }
}

fn set_receive_buffer(socket: &impl AsRawFd, option: libc::c_int, bytes: libc::c_int) {
    set_socket_option(socket, libc::SOL_SOCKET, option, bytes);
}

/// Sets an option whose value is an integer; if the system refuses, the old value stays.
fn set_socket_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    number: libc::c_int,
) {
    let length = size_of_val(&number) as libc::socklen_t;
    // SAFETY: the descriptor is open, since `socket` is borrowed; the pointer is to an integer
    // of the stated length that outlives the call.
    unsafe {
        let value = (&raw const number).cast();
        libc::setsockopt(socket.as_raw_fd(), level, option, value, length);
    }
}

/// Clock ticks per second, the unit of the times in `/proc/<pid>/stat`.
pub(crate) fn ticks_per_second() -> u64 {
    // SAFETY: sysconf takes an integer and touches no memory of ours.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100)
}

/// A pipe that says who has written: each write is one packet with the process number of its
/// writer. Returns the reader first. After the last writer has ended, the reader gets an empty
/// packet.
pub(crate) fn telling_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for the two descriptors, which belong to nobody else.
    let (reader, writer) = unsafe {
        if libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the descriptor is open; the pointer is to an integer of the stated length that
    // outlives the call.
    let result = unsafe {
        let value = (&raw const on).cast();
        libc::setsockopt(
            reader.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PASSCRED,
            value,
            length,
        )
    };
    match result {
        0 => Ok((reader, writer)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The next packet of a [`telling_pipe`]: its length in `buffer`, and the process that wrote it (0:
/// unknown).
pub(crate) fn read_told(reader: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, u32)> {
    // Aligned as a control message must be, and larger than the one that arrives.
    let mut control = [0_u64; 16];
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: a message header of zeros is a valid one without any buffer.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the header's pointers are to `part`, to `buffer` through it, and to `control`, with
    // their lengths; all outlive the call.
    let length = unsafe { libc::recvmsg(reader.as_raw_fd(), &raw mut message, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has filled `control` as the header says; the macros stay within it, and
    // credentials are copied out of a message of that type.
    let writer = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() || (*header).cmsg_type != libc::SCM_CREDENTIALS {
            0
        } else {
            ptr::read_unaligned(libc::CMSG_DATA(header).cast::<libc::ucred>()).pid
        }
    };
    Ok((length, u32::try_from(writer).unwrap_or(0)))
}

fn checked(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives this thread, and what it starts, mounts of its own.
pub(crate) fn own_mounts() -> io::Result<()> {
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the calls take flags and pointers to constants that end with NUL, or null where
    // nothing is to be said.
    unsafe {
        checked(libc::unshare(libc::CLONE_NEWNS))?;
        checked(libc::mount(
            ptr::null(),
            c"/".as_ptr(),
            ptr::null(),
            flags,
            ptr::null(),
        ))
    }
}

/// Mounts a file system in memory of `bytes` on a folder.
pub(crate) fn mount_memory(folder: &Path, bytes: u64, read_only: bool) -> io::Result<()> {
    let folder = CString::new(folder.as_os_str().as_bytes())?;
    let options = CString::new(format!("size={bytes},mode=0700"))?;
    let flags = if read_only { libc::MS_RDONLY } else { 0 };
    let kind = c"tmpfs".as_ptr();
    // SAFETY: all pointers are to strings that end with NUL and outlive the call.
    checked(unsafe { libc::mount(kind, folder.as_ptr(), kind, flags, options.as_ptr().cast()) })
}

/// Mounts what is on a folder on another one as well.
pub(crate) fn mount_again(folder: &Path, other: &Path) -> io::Result<()> {
    let [folder, other] = [folder, other].map(|path| CString::new(path.as_os_str().as_bytes()));
    let (folder, other, nothing) = (folder?, other?, ptr::null());
    // SAFETY: the paths end with NUL and outlive the call; a null says nothing.
    checked(unsafe {
        libc::mount(
            folder.as_ptr(),
            other.as_ptr(),
            nothing,
            libc::MS_BIND,
            nothing.cast(),
        )
    })
}

/// Unmounts what was mounted last on a folder, even if files of it are open.
pub(crate) fn unmount(folder: &Path) -> io::Result<()> {
    let folder = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: the pointer is to a string that ends with NUL and outlives the call.
    checked(unsafe { libc::umount2(folder.as_ptr(), libc::MNT_DETACH) })
}
