// Products by the matrices of subgroups. What is at `at` in memory counts in vec4u (in vec4f for the sums).
alias Left = subgroup_matrix_left<Element, UNIT_K, UNIT_M>;
alias Right = subgroup_matrix_right<Element, UNIT_N, UNIT_K>;
alias Sums = subgroup_matrix_result<f32, UNIT_N, UNIT_M>;

fn no_sums(unit: u32) -> Sums { return Sums(); }

fn load_left(at: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&stage_a, at, A_STRIDE); }

fn load_right(at: u32) -> Right { return subgroupMatrixLoad<Right, B_ORDER>(&stage_b, at, B_STRIDE); }

fn multiply(left: Left, right: Right, sums: Sums) -> Sums { return subgroupMatrixMultiplyAccumulate(left, right, sums); }

fn put(at: u32, sums: Sums) { subgroupMatrixStore<row_major>(&results, at, sums, UNIT_N / 4u); }
