// include rotate_head.wgsl
// A head of a row a workgroup.
struct Parameters { rotate: Rotate }
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    rotate_head(par.rotate, g.y, g.x, i);
}
