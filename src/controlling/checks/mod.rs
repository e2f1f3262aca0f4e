//! The checks of 9.1.1 and 9.1.2.
//!
//! | file | job |
//! |---|---|
//! | `lists` | the checks of the specification, in its order |
//! | `group` | those that only pre-defined groups have |
//! | `sent_on` | what a list or a group has sent on comes back |

mod group;
mod lists;
mod sent_on;

pub(super) use lists::{
    Checked, NOT_AUTHORISED, entity, entity_fields, group_step, hops_left, is_recipient_list, run,
    single_fields,
};
pub(super) use sent_on::{breadth_of_copies, hops_of_copies};
