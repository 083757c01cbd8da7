//! A router that can tell its routes: each of them is to stand in the document
//! of the API.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    routing::{self, MethodRouter},
};

use crate::gateway::Gateway;

/// Routes, and the handlers behind them.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<Arc<Gateway>>,
    names: Vec<(&'static str, &'static str)>,
}

impl Routes {
    /// Reading.
    pub(super) fn get<T: 'static>(
        self,
        path: &'static str,
        handler: impl Handler<T, Arc<Gateway>>,
    ) -> Self {
        self.add("get", path, routing::get(handler))
    }

    /// Making.
    pub(super) fn post<T: 'static>(
        self,
        path: &'static str,
        handler: impl Handler<T, Arc<Gateway>>,
    ) -> Self {
        self.add("post", path, routing::post(handler))
    }

    /// Ending.
    pub(super) fn delete<T: 'static>(
        self,
        path: &'static str,
        handler: impl Handler<T, Arc<Gateway>>,
    ) -> Self {
        self.add("delete", path, routing::delete(handler))
    }

    fn add(
        mut self,
        method: &'static str,
        path: &'static str,
        handler: MethodRouter<Arc<Gateway>>,
    ) -> Self {
        self.names.push((method, path));
        self.router = self.router.route(path, handler);
        self
    }

    /// Method, in lower case, and path of each, in the order they were added.
    #[cfg(test)]
    pub(super) fn names(&self) -> &[(&'static str, &'static str)] {
        &self.names
    }
}

impl From<Routes> for Router<Arc<Gateway>> {
    fn from(routes: Routes) -> Self {
        routes.router
    }
}
