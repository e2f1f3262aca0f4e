//! An HTTP server for tests: it answers requests in the order of a script and records them.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// One answer of the script.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// These bytes.
    Reply(Vec<u8>),
    /// These bytes, then one byte at a time until the client has enough.
    Drip(Vec<u8>),
    /// These bytes, and the connection is closed.
    ReplyAndClose(Vec<u8>),
    /// Nothing, until the server ends.
    Hang,
    /// The connection is closed.
    Close,
}

pub(super) struct TestServer {
    pub(super) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    script: mpsc::Sender<Step>,
    steps: Arc<Mutex<mpsc::Receiver<Step>>>,
}

impl TestServer {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, steps) = mpsc::channel();
        let steps = Arc::new(Mutex::new(steps));
        let seen = Arc::clone(&requests);
        let left = Arc::clone(&steps);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // A client can keep one connection and open another.
                let (seen, steps) = (Arc::clone(&seen), Arc::clone(&steps));
                thread::spawn(move || serve(connection, &seen, &steps));
            }
        });
        Self {
            port,
            requests,
            script,
            steps: left,
        }
    }

    /// Adds an answer to the script.
    pub(super) fn then(&self, step: Step) -> &Self {
        self.script.send(step).unwrap();
        self
    }

    /// Adds a response; `head` is status, reason and header fields, each with its line end but the
    /// last.
    pub(super) fn reply(&self, head: &str, body: &str) -> &Self {
        self.then(Step::Reply(response(head, body)))
    }

    /// The heads of the requests since the last call.
    pub(super) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// Removes answers that were not used.
    pub(super) fn drop_script(&self) {
        while self.steps.lock().unwrap().try_recv().is_ok() {}
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

pub(super) fn response(head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn serve(
    mut connection: TcpStream,
    seen: &Mutex<Vec<String>>,
    steps: &Mutex<mpsc::Receiver<Step>>,
) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match reader.read_line(&mut head) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        seen.lock().unwrap().push(head);
        // A request that is not in the script gets an answer that no test expects.
        let step = steps.lock().unwrap().try_recv();
        match step.unwrap_or_else(|_| Step::Reply(response("418 No", ""))) {
            Step::Reply(bytes) => {
                if connection.write_all(&bytes).is_err() {
                    return;
                }
            }
            Step::Drip(bytes) => {
                let mut more = bytes;
                while connection.write_all(&more).is_ok() {
                    more = b" ".to_vec();
                    thread::sleep(Duration::from_millis(5));
                }
                return;
            }
            Step::Hang => {
                // Ends when the client closes.
                let _ = reader.read_line(&mut String::new());
                return;
            }
            Step::ReplyAndClose(bytes) => {
                let _ = connection.write_all(&bytes);
                return;
            }
            Step::Close => return,
        }
    }
}

/// The certificate of [`serve_tls_once`], which is for 127.0.0.1 and signed by its own key.
pub(super) const CERTIFICATE: &[u8] = include_bytes!("test_tls/certificate.pem");

/// Answers one request over TLS on a local address; returns the port.
pub(super) fn serve_tls_once(address: &str, reply: Vec<u8>) -> u16 {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("test_tls/key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = BufReader::new(rustls::StreamOwned::new(session, socket));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            // A client that does not trust us closes the connection.
            if !matches!(stream.read_line(&mut head), Ok(1..)) {
                return;
            }
        }
        let _ = stream.get_mut().write_all(&reply);
        let _ = stream.get_mut().flush();
        // The client closes first, so that no byte of the answer is lost.
        let _ = stream.read_line(&mut head);
    });
    port
}
