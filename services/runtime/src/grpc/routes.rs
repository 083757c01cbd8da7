//! Services by name, and which of them a call is for.
//!
//! In place of tonic's own, a router of axum: what generated code answers with is passed on
//! as it is, where that boxes it and its body twice more.

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use ahash::AHashMap;
use tonic::{Status, server::NamedService};
use tower::Service;

use super::{Call, Request, Response};

type Serve = Arc<dyn Fn(Request) -> Call + Send + Sync>;

/// gRPC services, each by its full name. Cheap to clone.
///
/// **Errors**: UNIMPLEMENTED for a service that is none of them.
#[derive(Clone, Default)]
pub struct Routes(Arc<AHashMap<&'static str, Serve>>);

impl Routes {
    /// One service, as it is generated.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request, Response = Response, Error = Infallible, Future = Call>,
        S: NamedService + Clone + Send + Sync + 'static,
    {
        Self::default().add_service(service)
    }

    /// The same, and this one.
    #[must_use]
    pub fn add_service<S>(self, service: S) -> Self
    where
        S: Service<Request, Response = Response, Error = Infallible, Future = Call>,
        S: NamedService + Clone + Send + Sync + 'static,
    {
        // Generated code is always ready.
        self.add(S::NAME, move |request| service.clone().call(request))
    }

    /// The same; `serve` answers the calls of the service `name`.
    #[must_use]
    pub fn add(
        mut self,
        name: &'static str,
        serve: impl Fn(Request) -> Call + Send + Sync + 'static,
    ) -> Self {
        self.put(name, Arc::new(serve));
        self
    }

    /// The same, and those of `others`.
    #[must_use]
    pub fn merge(mut self, others: &Self) -> Self {
        others.0.iter().for_each(|(name, serve)| self.put(name, serve.clone()));
        self
    }

    fn put(&mut self, name: &'static str, serve: Serve) {
        let before = Arc::make_mut(&mut self.0).insert(name, serve);
        debug_assert!(before.is_none(), "{name} is bound twice");
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Service<Request> for Routes {
    type Response = Response;
    type Error = Infallible;
    type Future = Call;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Call {
        match self.0.get(service(request.uri().path())) {
            Some(serve) => serve(request),
            None => Box::pin(async { Ok(Status::unimplemented("no such service").into_http()) }),
        }
    }
}

/// The service of a path: `/service/method`.
fn service(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or_default();
    path.split_once('/').map_or("", |(service, _)| service)
}

#[cfg(test)]
mod tests {
    use tonic::{Code, body::Body};

    use super::*;

    fn named(name: &'static str, code: Code) -> Routes {
        let answer = move || Ok(Status::new(code, "as told").into_http());
        Routes::default().add(name, move |_| Box::pin(std::future::ready(answer())))
    }

    #[tokio::test]
    async fn a_call_comes_to_its_service_and_to_no_other() {
        let mut routes = named("a.A", Code::NotFound).merge(&named("a.B", Code::Aborted));
        let called = [
            ("/a.A/Get", Code::NotFound),
            ("/a.B/Get", Code::Aborted),
            ("/a.B/Get/more", Code::Aborted),
            ("/a/Get", Code::Unimplemented),
            ("/a.A", Code::Unimplemented),
            ("/", Code::Unimplemented),
            ("//", Code::Unimplemented),
        ];
        for (path, code) in called {
            let request = http::Request::builder().uri(format!("http://a{path}"));
            let answer = routes.call(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(super::super::trace::code(&answer), code, "{path}");
        }
    }
}
