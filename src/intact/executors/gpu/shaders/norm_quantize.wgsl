// include norm_row.wgsl
// include quantize_row.wgsl
// A norm of whole rows, and the codes of its result: a row a workgroup.
struct Parameters { norm: Norm, quantize: Quantize }
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    norm_slice(par.norm, g.y, 0u, i);
    storageBarrier();
    quantize_row(par.quantize, g.y, i);
}
