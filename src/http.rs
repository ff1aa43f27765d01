//! HTTP, blocking. The only module that names ureq.

use std::io::Read;
use std::time::Duration;
use ureq::{Agent, Body};

/// How long a client waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For a connection.
    pub(crate) connect: Duration,
    /// For the head of an answer, and then for each piece of its body.
    pub(crate) answer: Duration,
}

/// Asks servers. A status is an answer, whatever it is.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: Agent,
}

/// An answer.
pub(crate) struct Answer {
    /// The status, 200 where all is well.
    pub(crate) status: u16,
    response: ureq::http::Response<Body>,
}

impl Client {
    pub(crate) fn new(patience: Patience) -> Self {
        let agent = Agent::config_builder()
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.answer))
            .timeout_per_read(Some(patience.answer))
            .http_status_as_error(false)
            .build()
            .into();
        Self { agent }
    }

    /// # Errors
    /// In words, why there is no answer.
    pub(crate) fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        let request = headers
            .iter()
            .fold(self.agent.get(url), |request, (name, value)| request.header(*name, *value));
        request.call().map(Answer::of).map_err(|e| e.to_string())
    }

    /// # Errors
    /// In words, why there is no answer.
    pub(crate) fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, String> {
        let request = headers
            .iter()
            .fold(self.agent.post(url), |request, (name, value)| request.header(*name, *value));
        request.send(body).map(Answer::of).map_err(|e| e.to_string())
    }
}

impl Answer {
    fn of(response: ureq::http::Response<Body>) -> Self {
        Self { status: response.status().as_u16(), response }
    }

    /// A header's value, where it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The body.
    pub(crate) fn into_reader(self) -> impl Read + Send + 'static {
        self.response.into_body().into_reader()
    }
}
