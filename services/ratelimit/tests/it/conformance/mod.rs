//! What every store must do. A backend runs all of it by one line:
//! `suite!(name)`, where the function `name` opens an empty world.

pub(crate) mod charges;
pub(crate) mod fixed;
pub(crate) mod held;
pub(crate) mod limits;
pub(crate) mod pace;
pub(crate) mod window;

macro_rules! suite {
    ($backend:ident) => {
        mod $backend {
            $crate::conformance::suite!(
                $backend: window: table, slides, costs, large_quota, clock_goes_back, crowd
            );
            $crate::conformance::suite!(
                $backend: pace: bursts_then_even, even_by_default, refunds_what_is_not_due,
                a_bucket_is_full_at_first, clock_goes_back
            );
            $crate::conformance::suite!(
                $backend: fixed: begins_anew_at_its_edge, refunds_within_its_window
            );
            $crate::conformance::suite!(
                $backend: held: as_many_at_once, ends_unless_renewed, one_that_ended_is_judged,
                late_release, all_or_none, crowd
            );
            $crate::conformance::suite!(
                $backend: charges: once, reused, denied_is_judged_anew, refund, refund_ends,
                refund_unless_repeated, remembered_as_long_as_counted,
                nothing_is_charged_for_nothing
            );
            $crate::conformance::suite!(
                $backend: limits: all_or_none, shadow, subjects_apart, several_asks
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

/// What all can but one that counts alone for want of the others.
macro_rules! resets {
    ($($backend:ident),* $(,)?) => {
        mod resets {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $backend() {
                    $crate::conformance::charges::reset(super::$backend().await).await;
                }
            )*
        }
    };
}

pub(crate) use resets;
pub(crate) use suite;
