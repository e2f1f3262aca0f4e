//! The Rust type behind each opaque type of `cpm.h`.

/// An opaque type of the contract. Its content is reached through shared references only, and
/// changes in cells. So no call invalidates a pointer that C or another handle keeps (Stacked
/// Borrows), and a call from within another one is refused at run time where it must be.
pub(super) trait Handle: Sized {
    /// The type that C's pointer leads to.
    type Content;

    /// Passes a value to C, which owns it until [`take`](Self::take).
    fn give(content: Self::Content) -> *mut Self {
        Box::into_raw(Box::new(content)).cast()
    }

    /// The content behind C's pointer. `None`: the pointer is NULL.
    ///
    /// # Safety
    /// `pointer` is NULL, or comes from [`give`](Self::give) and is not taken back during `'a`.
    unsafe fn get<'a>(pointer: *const Self) -> Option<&'a Self::Content> {
        // SAFETY: the caller guarantees it; no reference other than shared ones is ever made.
        unsafe { pointer.cast::<Self::Content>().as_ref() }
    }

    /// Takes a value back from C. `None`: the pointer is NULL.
    ///
    /// # Safety
    /// `pointer` is NULL, or comes from [`give`](Self::give) and is no longer used.
    unsafe fn take(pointer: *mut Self) -> Option<Self::Content> {
        if pointer.is_null() {
            return None;
        }
        // SAFETY: the caller guarantees it.
        Some(*unsafe { Box::from_raw(pointer.cast::<Self::Content>()) })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// An opaque type as bindgen generates it.
    struct Opaque;

    impl Handle for Opaque {
        type Content = RefCell<u32>;
    }

    /// `make miri` shows that no pointer is invalidated. All handles are reached this way.
    #[test]
    fn a_pointer_stays_good_whatever_is_done_through_others() {
        let given = Opaque::give(RefCell::new(1));
        // Like the service pointer that a mailbox keeps.
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
