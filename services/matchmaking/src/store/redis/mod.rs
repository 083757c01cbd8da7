//! The index on Redis, shared by many processes.
//!
//! One slot per pool (`{mm:<pool>}`), one script per intent (`lua/`), and
//! everything under the fence's generation: a server that restarted has an
//! empty index, which whoever leads builds again from the rows. It only
//! proposes; what it loses, the sweep finds.
//!
//! | what happens | what follows |
//! | --- | --- |
//! | Redis is away | every call fails; tickets are made, wait and end as rows |
//! | a proposal's reply is lost | both left the index unpaired: the sweep puts them back |
//! | a frozen server wakes | scripts answer LATE and change nothing |
//! | it restarted, or its data is another | a new generation: empty, rebuilt by the leader |
//! | processes disagree about a pool's attributes | each has its own index of all rows; the rows decide |

mod entry;
mod index;
mod place;
mod scripts;

pub use index::RedisIndex;
