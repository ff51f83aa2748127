//! All tests from outside: one binary, a module for each door of the server.

mod tidy;
