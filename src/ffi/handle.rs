//! What each opaque type of `cpm.h` is, said once.

/// An opaque type of the contract. What it is is reached through shared references only, and
/// changes in cells: so no pointer that C or another handle keeps is ever invalidated by a call
/// (Stacked Borrows), and a call from within another one is refused at run time where it would have
/// to be.
pub(super) trait Handle: Sized {
    /// What C holds a pointer to.
    type Content;

    /// Hands one to C, which owns it until [`take`](Self::take).
    fn give(content: Self::Content) -> *mut Self {
        Box::into_raw(Box::new(content)).cast()
    }

    /// What C's pointer leads to. `None`: it is NULL.
    ///
    /// # Safety
    /// `pointer` is NULL, or comes from [`give`](Self::give) and is not taken back during `'a`.
    unsafe fn get<'a>(pointer: *const Self) -> Option<&'a Self::Content> {
        // SAFETY: as the caller promises; nobody makes a reference to it that is not shared.
        unsafe { pointer.cast::<Self::Content>().as_ref() }
    }

    /// Takes one back from C. `None`: it is NULL.
    ///
    /// # Safety
    /// `pointer` is NULL, or comes from [`give`](Self::give), and nobody uses it any more.
    unsafe fn take(pointer: *mut Self) -> Option<Self::Content> {
        if pointer.is_null() {
            return None;
        }
        // SAFETY: as the caller promises.
        Some(*unsafe { Box::from_raw(pointer.cast::<Self::Content>()) })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// An opaque type, as bindgen makes them.
    struct Opaque;

    impl Handle for Opaque {
        type Content = RefCell<u32>;
    }

    /// Miri sees that no pointer is invalidated: `cargo +nightly miri test --lib ffi::handle`.
    #[test]
    fn a_pointer_stays_good_whatever_is_done_through_others() {
        let given = Opaque::give(RefCell::new(1));
        // As a mailbox keeps its service.
        let kept = given.cast_const();
        // SAFETY: not taken back yet.
        let (seen, same) = unsafe { (Opaque::get(kept).unwrap(), Opaque::get(given).unwrap()) };
        *same.borrow_mut() = 2;
        assert_eq!(*seen.borrow(), 2);
        // SAFETY: not taken back yet.
        assert_eq!(*unsafe { Opaque::get(kept) }.unwrap().borrow(), 2);
        // SAFETY: taken back once.
        assert_eq!(unsafe { Opaque::take(given) }.unwrap().into_inner(), 2);
        // SAFETY: NULL.
        assert!(unsafe {
            Opaque::get(std::ptr::null()).is_none() && Opaque::take(std::ptr::null_mut()).is_none()
        });
    }
}
