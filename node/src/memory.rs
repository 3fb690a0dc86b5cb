//! Memory accounting: a wrapper around the global allocator that counts usable sizes.
//!
//! `used_memory`, eviction and MEMORY USAGE must speak of the same bytes, and must know them without asking
//! the allocator's own statistics, which are slow to refresh. So every allocation and release adds its usable size (the size
//! class that jemalloc rounds a request up to) to a counter of the thread, which goes to a global one whenever it has
//! grown beyond [`BATCH_BYTES`]. The size class is computed, not asked for: a few instructions and no cache miss.
//!
//! A program installs it with one line; libraries and their tests do without, so that
//! sanitizers see the system's allocator:
//!
//! ```ignore
//! #[global_allocator]
//! static ALLOCATOR: redoubt_node::memory::CountingAllocator = redoubt_node::memory::CountingAllocator;
//! ```
//!
//! Invariants of the unsafe code here: [`CountingAllocator`] passes every call through to jemalloc with the
//! layout it was given; counting neither allocates nor panics.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

use tikv_jemalloc_ctl::{background_thread, epoch, stats};
use tikv_jemallocator::Jemalloc;

/// How far a thread's count may run ahead of the global one before it is published.
const BATCH_BYTES: usize = 16 * 1024;

static USED: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    /// What this thread has allocated, less what it has released, since it last published.
    static UNPUBLISHED: Cell<isize> = const { Cell::new(0) };
    /// Whether [`ON_EXIT`] has been touched, which is what makes it run at the thread's end.
    static WILL_FLUSH: Cell<bool> = const { Cell::new(false) };
    static ON_EXIT: FlushOnExit = const { FlushOnExit };
}

/// Publishes the rest of a thread's count when the thread ends.
struct FlushOnExit;

impl Drop for FlushOnExit {
    fn drop(&mut self) {
        flush();
    }
}

/// jemalloc, with every allocation counted in usable bytes.
pub struct CountingAllocator;

// SAFETY: every method hands its arguments unchanged to jemalloc, which fulfils the contract.
unsafe impl GlobalAlloc for CountingAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        let p = unsafe { Jemalloc.alloc(layout) };
        if !p.is_null() {
            count(usable_bytes(layout) as isize);
        }
        p
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        let p = unsafe { Jemalloc.alloc_zeroed(layout) };
        if !p.is_null() {
            count(usable_bytes(layout) as isize);
        }
        p
    }

    #[inline]
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        count(-(usable_bytes(layout) as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { Jemalloc.dealloc(p, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        let moved = unsafe { Jemalloc.realloc(p, layout, new_size) };
        if !moved.is_null() {
            // SAFETY: the caller promises that `new_size` makes a layout with this alignment.
            let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
            count(usable_bytes(new) as isize - usable_bytes(layout) as isize);
        }
        moved
    }
}

#[inline]
fn count(delta: isize) {
    UNPUBLISHED.with(|unpublished| {
        let sum = unpublished.get() + delta;
        unpublished.set(sum);
        if sum.unsigned_abs() >= BATCH_BYTES {
            publish();
        }
    });
}

#[cold]
fn publish() {
    flush();
    if !WILL_FLUSH.replace(true) {
        // Registering the destructor may allocate; the flag set before keeps that from coming back here. A
        // thread already past its destructors has nobody left to flush for it, which costs less than one batch.
        let _ = ON_EXIT.try_with(|_| ());
    }
}

/// Publishes what the calling thread has counted.
pub fn flush() {
    let delta = UNPUBLISHED.replace(0);
    let used = USED.fetch_add(delta, Relaxed) + delta;
    if delta > 0 {
        PEAK.fetch_max(used, Relaxed);
    }
}

/// Bytes in use, in usable sizes; exact for the calling thread, and at most 16 KiB off for every other one. 0 where
/// [`CountingAllocator`] is not the program's allocator.
pub fn used() -> usize {
    flush();
    USED.load(Relaxed).max(0) as usize
}

/// The most bytes that were ever in use, as far as published counts tell.
pub fn peak() -> usize {
    flush();
    PEAK.load(Relaxed).max(0) as usize
}

/// Forgets the peak: it becomes what is in use now.
pub fn reset_peak() {
    flush();
    PEAK.store(USED.load(Relaxed), Relaxed);
}

/// The bytes that jemalloc sets aside for `layout`.
#[inline]
pub fn usable_bytes(layout: Layout) -> usize {
    /// Up to this alignment a size class is aligned by itself.
    const NATURAL_ALIGN: usize = 16;
    if layout.align() <= NATURAL_ALIGN {
        size_class(layout.size().max(layout.align()))
    } else {
        let flags = tikv_jemalloc_sys::MALLOCX_ALIGN(layout.align());
        // SAFETY: nallocx only computes; a layout's size is not zero where it stands for an allocation, and
        // `max` keeps that for any other.
        unsafe { tikv_jemalloc_sys::nallocx(layout.size().max(1), flags) }
    }
}

/// The usable size of an allocation of `size` bytes: `size` rounded up to jemalloc's next class.
#[inline]
pub const fn size_class(size: usize) -> usize {
    class_size(class_index(size))
}

/// The number of jemalloc's size class that holds `size` bytes, counted from 0 for 8 bytes.
///
/// The classes are 8, then the multiples of 16 up to 128, then four for every doubling.
#[inline]
pub const fn class_index(size: usize) -> u32 {
    if size <= 8 {
        0
    } else if size <= 128 {
        size.div_ceil(16) as u32
    } else {
        let last = size - 1;
        let doubling = last.ilog2();
        9 + (doubling - 7) * 4 + ((last >> (doubling - 2)) & 3) as u32
    }
}

/// The bytes of the size class numbered `index`: the inverse of [`class_index`].
#[inline]
pub const fn class_size(index: u32) -> usize {
    match index {
        0 => 8,
        1..=8 => index as usize * 16,
        _ => {
            let (doubling, step) = (7 + (index - 9) / 4, (index - 9) % 4);
            (1 << doubling) + ((step as usize + 1) << (doubling - 2))
        }
    }
}

/// jemalloc's own figures, in bytes, for INFO memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorFigures {
    /// Handed out to the program.
    pub allocated: usize,
    /// In pages of which at least a part is handed out.
    pub active: usize,
    /// In physical memory, jemalloc's own data and unreturned pages included.
    pub resident: usize,
    /// In address space that is kept for reuse without physical memory behind it.
    pub retained: usize,
    /// In jemalloc's own data structures.
    pub metadata: usize,
}

/// Reads jemalloc's figures as of now.
///
/// # Errors
/// jemalloc's error if it was built without statistics.
pub fn allocator_figures() -> Result<AllocatorFigures, tikv_jemalloc_ctl::Error> {
    epoch::advance()?;
    Ok(AllocatorFigures {
        allocated: stats::allocated::read()?,
        active: stats::active::read()?,
        resident: stats::resident::read()?,
        retained: stats::retained::read()?,
        metadata: stats::metadata::read()?,
    })
}

/// Has freed pages returned to the system by a thread of jemalloc's own, rather than by whichever thread
/// happens to allocate when they are due (the directive `jemalloc-bg-thread`).
///
/// # Errors
/// jemalloc's error if it cannot start threads.
pub fn set_background_purging(on: bool) -> Result<(), tikv_jemalloc_ctl::Error> {
    background_thread::write(on)
}

/// Returns all unused pages to the system now (MEMORY PURGE). May take milliseconds per gigabyte.
///
/// # Errors
/// The system's error if jemalloc refuses.
pub fn purge() -> Result<(), std::io::Error> {
    /// `arena.<all arenas>.purge`; 4096 is jemalloc's MALLCTL_ARENAS_ALL.
    const PURGE_ALL_ARENAS: &std::ffi::CStr = c"arena.4096.purge";
    use std::ptr::null_mut;
    // SAFETY: the name is a C string, and this control neither reads nor writes a value.
    let errno = unsafe {
        tikv_jemalloc_sys::mallctl(PURGE_ALL_ARENAS.as_ptr(), null_mut(), null_mut(), null_mut(), 0)
    };
    if errno == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(errno)) }
}

/// Starts loading the cache line at `p`, which need not be valid.
#[inline]
pub fn prefetch<T>(p: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(p.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch never faults, whatever the address, and changes no register.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) p, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = p;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// The counters are global: one test at a time.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    #[test]
    fn computed_classes_are_jemallocs() {
        let sizes =
            (1..70_000).chain((70_000..9_000_000).step_by(4099)).chain((17..40).map(|b| (1 << b) + 1));
        for size in sizes {
            // SAFETY: nallocx only computes, and the size is not zero.
            let real = unsafe { tikv_jemalloc_sys::nallocx(size, 0) };
            assert_eq!(size_class(size), real, "class of {size}");
            assert_eq!(class_index(class_size(class_index(size))), class_index(size));
        }
    }

    #[test]
    fn usable_bytes_are_what_jemalloc_gives() {
        for (size, align) in [(1, 1), (8, 16), (40, 8), (64, 64), (65, 64), (65536, 64), (100, 4096), (5, 32)]
        {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the layout is not empty, and the allocation is released with it.
            unsafe {
                let p = Jemalloc.alloc(layout);
                assert_eq!(usable_bytes(layout), tikv_jemallocator::usable_size(p), "{layout:?}");
                Jemalloc.dealloc(p, layout);
            }
        }
    }

    #[test]
    fn counts_through_alloc_realloc_and_dealloc() {
        let _alone = ONE_AT_A_TIME.lock().unwrap();
        let before = used();
        let layout = Layout::from_size_align(100_000, 8).unwrap();
        // SAFETY: the layouts are not empty, and each pointer is used with the layout it has by then.
        unsafe {
            let p = CountingAllocator.alloc(layout);
            assert_eq!(used() - before, size_class(100_000));
            let p = CountingAllocator.realloc(p, layout, 10);
            assert_eq!(used() - before, 16);
            CountingAllocator.dealloc(p, Layout::from_size_align(10, 8).unwrap());
        }
        assert_eq!(used(), before);
        assert!(peak() >= before + size_class(100_000));
        reset_peak();
        assert_eq!(peak(), before);
    }

    #[test]
    fn a_threads_count_is_published_at_its_end() {
        let _alone = ONE_AT_A_TIME.lock().unwrap();
        let before = used();
        let layout = Layout::from_size_align(32, 8).unwrap();
        let blocks = std::thread::spawn(move || {
            // SAFETY: the layout is not empty.
            (0..1000).map(|_| unsafe { CountingAllocator.alloc(layout) } as usize).collect::<Vec<_>>()
        })
        .join()
        .unwrap();
        assert_eq!(used() - before, 32_000);
        for p in blocks {
            // SAFETY: allocated above with the same layout, and released once.
            unsafe { CountingAllocator.dealloc(p as *mut u8, layout) };
        }
        assert_eq!(used(), before);
    }

    #[test]
    fn figures_and_purge_answer() {
        let figures = allocator_figures().unwrap();
        assert!(figures.active >= figures.allocated);
        assert!(figures.resident > 0);
        purge().unwrap();
    }
}
