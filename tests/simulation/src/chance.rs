//! Takes chance away from everything that asks the operating system for it: libraries seed their
//! hash maps and generators by `getrandom`, so a run that answers it from a seed, on a fresh
//! thread (std draws its keys once a thread), replays. Test-only, and the only unsafe code here.
#![expect(unsafe_code, reason = "interposes getrandom at link time")]

use std::cell::Cell;

thread_local! {
    /// The state of this thread's stream; none outside of a simulation.
    static STREAM: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Answers `getrandom` from the simulation's stream on its thread, from the system elsewhere.
///
/// # Safety
/// `buffer` points to `length` writable bytes, as getrandom(2) demands of its callers.
#[unsafe(no_mangle)]
#[expect(unreachable_pub, reason = "the linker reaches it")]
pub unsafe extern "C" fn getrandom(
    buffer: *mut libc::c_void,
    length: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    let Some(mut state) = STREAM.get() else {
        // SAFETY: the arguments are the caller's own, passed on unchanged.
        let written = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
        return libc::ssize_t::try_from(written).unwrap_or(-1);
    };
    for index in 0..length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let byte = mixed.to_be_bytes()[0];
        // SAFETY: `index` is below `length`, within the caller's buffer.
        unsafe { buffer.cast::<u8>().add(index).write(byte) };
    }
    STREAM.set(Some(state));
    libc::ssize_t::try_from(length).unwrap_or(-1)
}

/// Runs one simulation on a fresh thread, in a paused runtime, with every chance from `seed`.
pub(crate) fn run<T, F>(seed: u64, simulation: impl FnOnce(u64) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    #[expect(clippy::disallowed_methods, reason = "a fresh thread has fresh hash keys")]
    let thread = std::thread::spawn(move || {
        STREAM.set(Some(seed));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O can always be built");
        let outcome = runtime.block_on(simulation(seed));
        drop(runtime);
        STREAM.set(None);
        outcome
    });
    thread.join().expect("a simulation reports errors as values")
}
