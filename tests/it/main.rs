//! Black-box tests against a started server.
