//! `trailpad openapi`

pub fn run() {
    print!("{}", trailpad_gateway::openapi());
}
