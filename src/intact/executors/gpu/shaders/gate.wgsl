// include gate_row.wgsl
// A row a workgroup.
struct Parameters { gate: Gate }
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    gate_row(par.gate, g.y, i);
}
