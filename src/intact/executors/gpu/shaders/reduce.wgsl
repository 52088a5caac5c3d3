// include words.wgsl
// Reductions over the LANES threads of a workgroup. All are exact, so their order does not matter. Every thread must
// call them, and all get the result.
var<workgroup> cells: array<vec4<u32>, LANES>;

fn largest_words(i: u32, v: vec2<u32>) -> vec2<u32> { // of each component
    cells[i] = vec4<u32>(v, 0u, 0u);
    workgroupBarrier();
    for (var k = LANES / 2u; k > 0u; k >>= 1u) {
        if (i < k) { cells[i] = max(cells[i], cells[i + k]); }
        workgroupBarrier();
    }
    let found = cells[0].xy;
    workgroupBarrier();
    return found;
}
fn largest_and_sum(i: u32, v: W, addend: W) -> vec4<u32> { // the largest unsigned v, and the sum of addends
    cells[i] = vec4<u32>(v, addend);
    workgroupBarrier();
    for (var k = LANES / 2u; k > 0u; k >>= 1u) {
        if (i < k) {
            let a = cells[i];
            let b = cells[i + k];
            cells[i] = vec4<u32>(select(a.xy, b.xy, less_u(a.xy, b.xy)), plus(a.zw, b.zw));
        }
        workgroupBarrier();
    }
    let found = cells[0];
    workgroupBarrier();
    return found;
}
fn largest(i: u32, v: W) -> W { return largest_and_sum(i, v, W(0u, 0u)).xy; }
fn sum_of(i: u32, v: W) -> W { return largest_and_sum(i, W(0u, 0u), v).zw; }
fn largest_i32(i: u32, v: i32) -> i32 { return i32(largest_words(i, vec2<u32>(u32(v) ^ 0x80000000u, 0u)).x ^ 0x80000000u); }
