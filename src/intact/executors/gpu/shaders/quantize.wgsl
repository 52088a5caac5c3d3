// include quantize_row.wgsl
// A row a workgroup.
struct Parameters { quantize: Quantize }
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    quantize_row(par.quantize, g.y, i);
}
