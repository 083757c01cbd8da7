//! What every store must do. A backend runs all of it by one line:
//! `suite!(name)`, where the function `name` opens an empty world.

pub(crate) mod claims;
pub(crate) mod nodes;
pub(crate) mod time;
pub(crate) mod users;

macro_rules! suite {
    ($backend:ident) => {
        mod $backend {
            $crate::conformance::suite!(
                $backend: claims: table, same_again, resume_race, same_node_supersedes, other_user,
                closed_stays_closed, status_of_a_resume
            );
            $crate::conformance::suite!(
                $backend: users: devices, limit, ended_do_not_count, many_in_order, set_status,
                last_seen_is_bounded, store_is_bounded, ended_are_bounded,
                refusals_swallow_no_change, full_swallows_no_change
            );
            $crate::conformance::suite!(
                $backend: time: return_in_grace, grace_ends_once, dead_node, late_renewal,
                a_lapse_found_by_walking, stale_disconnect, count_follows
            );
            $crate::conformance::suite!(
                $backend: nodes: register, newer_start, newer_start_of_the_living, renewal, list,
                register_sessions, unknown_node, bounded
            );
        }
    };
    ($backend:ident: $topic:ident: $($body:ident),* $(,)?) => {
        mod $topic {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $body() {
                    let world = super::super::$backend().await;
                    $crate::conformance::$topic::$body(world).await;
                }
            )*
        }
    };
}

pub(crate) use suite;
