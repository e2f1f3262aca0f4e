//! Structs whose defaults are in the table of parameters.

/// Defines a struct with a constructor `unset`, in which each field has its type's own `Default`.
/// The defaults of the table of parameters are then applied to it; it is never used without them.
macro_rules! unset_at_first {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* $visibility:vis $field:ident: $type:ty $(= $unset:expr)?,)*
    }) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[$field_meta])* $visibility $field: $type,)*
        }

        impl $name {
            pub(super) fn unset() -> Self {
                $name { $($field: unset_at_first!(@ $($unset)?),)* }
            }
        }
    };
    (@) => { Default::default() };
    (@ $unset:expr) => { $unset };
}
pub(super) use unset_at_first;
