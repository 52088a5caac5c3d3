// include gate_row.wgsl
// include quantize_row.wgsl
// A gate, and the codes of its result: a row a workgroup.
struct Parameters { gate: Gate, quantize: Quantize }
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    gate_row(par.gate, g.y, i);
    storageBarrier();
    quantize_row(par.quantize, g.y, i);
}
