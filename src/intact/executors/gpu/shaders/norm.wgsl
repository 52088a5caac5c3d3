// include norm_row.wgsl
// A slice of a row a workgroup.
struct Parameters { norm: Norm }
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    norm_slice(par.norm, g.y, g.x, i);
}
