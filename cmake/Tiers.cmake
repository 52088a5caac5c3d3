# One translation unit (or several) per instruction-set tier, each with flags of its own.
#
# native/tiers/tier_<name>*.cpp belongs to tier <name>; every other source, and tier scalar, is compiled for the baseline of the machine's family.
# Inline functions of a wider tier must not leak into others: a tier keeps everything in an anonymous namespace (scripts/check_tiers.sh looks).

set(INTACT_FLAGS_scalar "")
set(INTACT_FLAGS_avx2 -mavx2)
set(INTACT_FLAGS_avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni)
set(INTACT_FLAGS_vbmi2 ${INTACT_FLAGS_avx512} -mavx512ifma -mavx512vbmi2 -mgfni)
set(INTACT_FLAGS_amx ${INTACT_FLAGS_vbmi2}) # those of tiles are written out
set(INTACT_FLAGS_neon "")

if(DEFINED INTACT_TIERS)
  # Those that somebody asks for; scalar must be among them.
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(INTACT_TIERS scalar avx2 avx512 vbmi2 amx)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(INTACT_TIERS scalar neon)
else()
  set(INTACT_TIERS scalar)
endif()

# Add SOURCES to TARGET, leaving out the tiers that this machine's family doesn't have; define INTACT_TIER_<NAME> for those it has.
function(intact_tiers target)
  foreach(source IN LISTS ARGN)
    get_filename_component(name "${source}" NAME)
    if(name MATCHES "^tier_([a-z0-9]+).*\\.cpp$")
      set(tier ${CMAKE_MATCH_1})
      if(NOT tier IN_LIST INTACT_TIERS)
        continue()
      endif()
      set(flags ${INTACT_FLAGS_${tier}})
      if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # GCC's own intrinsics leave registers undefined on purpose and then warn of it; the vector ABI is no matter inside a unit.
        list(APPEND flags -Wno-uninitialized -Wno-maybe-uninitialized -Wno-psabi)
        if(tier MATCHES "avx|amx|vbmi")
          # Constants come from memory, as operands; moving each from a general register in the middle of a loop costs a third of a gate's time.
          list(APPEND flags -mtune-ctrl=^inter_unit_moves_to_vec)
        endif()
        if(tier STREQUAL "avx2")
          # Otherwise a tile's products are all made before they are added, which takes more registers than there are.
          list(APPEND flags -fno-tree-reassoc -fno-tree-ter)
        endif()
      endif()
      set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS "${flags}")
    endif()
    target_sources(${target} PRIVATE "${source}")
  endforeach()
  foreach(tier IN LISTS INTACT_TIERS)
    string(TOUPPER ${tier} upper)
    target_compile_definitions(${target} PRIVATE INTACT_TIER_${upper})
  endforeach()
endfunction()
